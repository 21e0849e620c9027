import { fieldValue, type PodFacts, resourceValue } from '../pod/fields.ts'
import type { KeyToPath, NodePod, PodVolume, VolumeSource } from '../pod/pod.ts'

/** Contents of a ConfigMap or Secret by key; undefined when it does not exist. */
export type Contents = ReadonlyMap<string, Buffer> | undefined
/** Where volume contents come from. */
export type Contentful = Readonly<{
  configMap(namespace: string, name: string): Promise<Contents>
  secret(namespace: string, name: string): Promise<Contents>
  token(
    pod: NodePod,
    request: Readonly<{ audience: string | undefined; expirationSeconds: number }>,
  ): Promise<string>
}>

/** Files of a volume by relative path. */
export type Payload = ReadonlyMap<string, Readonly<{ content: Buffer; mode: number }>>
type PayloadOutcome =
  | Readonly<{ kind: 'payload'; payload: Payload }>
  /** Something that it names does not exist (yet); the pod waits for it. */
  | Readonly<{ kind: 'missing'; message: string }>

/** A volume made of objects, as sources; undefined for any other volume. */
export function sourcesOf(
  volume: PodVolume,
): { readonly sources: readonly VolumeSource[]; readonly mode: number } | undefined {
  const { configMap, secret, downwardAPI, projected } = volume
  if (projected) return { sources: projected.sources, mode: projected.defaultMode }
  if (configMap) return { sources: [{ configMap }], mode: configMap.defaultMode }
  if (secret)
    return { sources: [{ secret: { ...secret, name: secret.secretName } }], mode: secret.defaultMode }
  if (downwardAPI) return { sources: [{ downwardAPI }], mode: downwardAPI.defaultMode }
  return undefined
}

/** What the files of such a volume are now. Later sources win over earlier ones. */
export async function payloadOf(
  pod: NodePod,
  facts: PodFacts,
  { sources, mode }: { readonly sources: readonly VolumeSource[]; readonly mode: number },
  from: Contentful,
): Promise<PayloadOutcome> {
  const payload = new Map<string, { content: Buffer; mode: number }>()
  for (const source of sources) {
    const { serviceAccountToken: token, downwardAPI } = source
    if (token)
      payload.set(token.path, {
        content: Buffer.from(await from.token(pod, { ...token, audience: token.audience })),
        mode,
      })
    for (const item of downwardAPI?.items ?? [])
      payload.set(item.path, { content: Buffer.from(downward(pod, facts, item)), mode: item.mode ?? mode })
    const missing = await addObjects(payload, pod.metadata.namespace, source, mode, from)
    if (missing !== undefined) return { kind: 'missing', message: missing }
  }
  return { kind: 'payload', payload }
}

type DownwardItem = NonNullable<VolumeSource['downwardAPI']>['items'][number]
const downward = (pod: NodePod, facts: PodFacts, { fieldRef, resourceFieldRef }: DownwardItem): string =>
  (fieldRef
    ? fieldValue(pod, facts, fieldRef.fieldPath)
    : resourceFieldRef && resourceValue(pod, resourceFieldRef, '')) ?? ''

async function addObjects(
  payload: Map<string, { content: Buffer; mode: number }>,
  namespace: string,
  { configMap, secret }: VolumeSource,
  mode: number,
  from: Contentful,
): Promise<string | undefined> {
  const named = [
    ...(configMap
      ? [{ what: 'configmap', ...configMap, contents: await from.configMap(namespace, configMap.name) }]
      : []),
    ...(secret ? [{ what: 'secret', ...secret, contents: await from.secret(namespace, secret.name) }] : []),
  ]
  for (const { what, name, items, optional, contents } of named) {
    if (!contents && !optional) return `${what} "${name}" not found`
    for (const [path, file] of filesOf(contents ?? new Map<string, Buffer>(), items, mode)) {
      if (!file && !optional) return `references non-existent ${what} key: ${name}: ${path}`
      if (file) payload.set(path, file)
    }
  }
  return undefined
}

/** All keys as files, or only the items named; a key that does not exist comes without a file. */
function filesOf(
  contents: ReadonlyMap<string, Buffer>,
  items: readonly KeyToPath[] | undefined,
  mode: number,
): readonly (readonly [string, { content: Buffer; mode: number } | undefined])[] {
  if (!items) return [...contents].map(([key, content]) => [key, { content, mode }] as const)
  return items.map((item) => {
    const content = contents.get(item.key)
    return [item.path, content && { content, mode: item.mode ?? mode }] as const
  })
}
