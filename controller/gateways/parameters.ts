import { parse } from 'yaml'
import { isRecord, messageOf } from '#base'
import { type ConfigMap, keyOf } from '#kube'
import type { Gateway } from '../collections/index.ts'
import type { ChildKind } from './render.ts'

/** What is wanted otherwise than it is rendered: a patch per kind, and where it was read. */
export type Overlay = Readonly<{ source: string; patches: ReadonlyMap<ChildKind, unknown> }>
/** What parameters ask for. */
export type Parameters =
  | Readonly<{ kind: 'overlays'; overlays: readonly Overlay[] }>
  | Readonly<{ kind: 'invalid'; message: string }>

/** Marks a ConfigMap in the root namespace as the defaults of a class. */
const defaultsForClass = 'gateway.istio.io/defaults-for-class'

const keys: Readonly<Record<string, ChildKind>> = {
  serviceAccount: 'ServiceAccount',
  deployment: 'Deployment',
  service: 'Service',
  horizontalPodAutoscaler: 'HorizontalPodAutoscaler',
  podDisruptionBudget: 'PodDisruptionBudget',
}

/** Of ConfigMaps there may be many, for anything; of other keys than ours only the names are kept. */
export const trimMap = ({ apiVersion, kind, metadata, data }: ConfigMap): ConfigMap => {
  const { name, namespace, labels, creationTimestamp, resourceVersion } = metadata
  return {
    ...(apiVersion === undefined ? {} : { apiVersion }),
    ...(kind === undefined ? {} : { kind }),
    metadata: {
      ...(name === undefined ? {} : { name }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(labels === undefined ? {} : { labels }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    data: Object.fromEntries(
      Object.entries(data ?? {}).map(([key, text]) => [key, Object.hasOwn(keys, key) ? text : '']),
    ),
  }
}

/** The ConfigMap that a Gateway names, as a key; undefined where it names none, or something else. */
export function parametersKey({ namespace, infrastructure: { parameters } }: Gateway): string | undefined {
  const { group = '', kind, name } = isRecord(parameters) ? parameters : {}
  return group === '' && kind === 'ConfigMap' && typeof name === 'string' && name !== ''
    ? `${namespace}/${name}`
    : undefined
}

/** The defaults of a class first, then the Gateway's own. `own` finds the ConfigMap that the Gateway names. */
export function parametersOf(
  gateway: Gateway,
  defaults: readonly ConfigMap[],
  own: (key: string) => ConfigMap | undefined,
): Parameters {
  const sources: ConfigMap[] = []
  const ofClass = oldestOf(defaults, gateway.className)
  if (ofClass !== undefined) sources.push(ofClass)
  if (gateway.infrastructure.parameters !== undefined) {
    const key = parametersKey(gateway)
    const path = 'spec.infrastructure.parametersRef'
    if (key === undefined) return invalid(`${path}: must name a ConfigMap of the Gateway’s namespace`)
    const map = own(key)
    if (map === undefined) return invalid(`${path}: ConfigMap ${key} does not exist`)
    sources.push(map)
  }
  const overlays: Overlay[] = []
  for (const source of sources) {
    const read = readOverlay(source)
    if (read.kind === 'invalid') return read
    overlays.push(read.overlay)
  }
  return { kind: 'overlays', overlays }
}

const invalid = (message: string) => ({ kind: 'invalid', message }) as const

/** Of several the oldest counts, so that a second one changes nothing. */
function oldestOf(defaults: readonly ConfigMap[], className: string): ConfigMap | undefined {
  const ageOf = ({ metadata }: ConfigMap) => `${metadata.creationTimestamp ?? ''} ${metadata.name ?? ''}`
  return defaults
    .filter(({ metadata }) => metadata.labels?.[defaultsForClass] === className)
    .reduce<ConfigMap | undefined>((best, map) => (best && ageOf(best) <= ageOf(map) ? best : map), undefined)
}

function readOverlay(
  map: ConfigMap,
): Readonly<{ kind: 'read'; overlay: Overlay } | { kind: 'invalid'; message: string }> {
  const source = `ConfigMap ${keyOf(map)}`
  const patches = new Map<ChildKind, unknown>()
  for (const [key, text] of Object.entries(map.data ?? {})) {
    const kind = Object.hasOwn(keys, key) ? keys[key] : undefined
    if (kind === undefined)
      return invalid(`${source}: key ${key.slice(0, 80)} is unknown; one of ${Object.keys(keys).join(', ')}`)
    const patch = readPatch(text)
    if (patch.kind === 'invalid') return invalid(`${source}: ${key}: ${patch.message}`)
    if (patch.value !== null) patches.set(kind, patch.value)
  }
  return { kind: 'read', overlay: { source, patches } }
}

/** Whatever a user writes; the parser gives up on aliases that multiply and on nesting without end. */
function readPatch(
  text: unknown,
): Readonly<{ kind: 'patch'; value: unknown } | { kind: 'invalid'; message: string }> {
  try {
    const value: unknown = parse(String(text))
    return value === null || isRecord(value)
      ? { kind: 'patch', value }
      : invalid('not an object that could be merged')
  } catch (error) {
    return invalid(messageOf(error).split('\n')[0]?.slice(0, 300) ?? '')
  }
}
