import {
  type Collection,
  type ConfigMap,
  type Custom,
  type EndpointSlice,
  type KubeClient,
  type KubeObject,
  keyOf,
  kinds,
  type Service,
  workQueue,
} from '#kube'
import type { Logger } from '#telemetry'
import { type Gateway, readGateway } from '../collections/index.ts'
import { timeOf, type Writer, writeStatus } from '../reconcile/index.ts'
import { type AttachingRoute, isAttached } from './attachment.ts'
import { applyChildren, forget } from './children.ts'
import { type BuiltInClass, missingDataPlane } from './classes.ts'
import { hostOf, isManual } from './host.ts'
import { names } from './names.ts'
import { controllerVersion, handledClass, type OwnershipTables } from './ownership.ts'
import { type FollowedMaps, followMaps } from './parameter-maps.ts'
import { parametersKey, type Parameters, parametersOf } from './parameters.ts'
import type { RenderOptions } from './pod-template.ts'
import type { ChildKind } from './render.ts'
import { gatewayStatus, type Seen } from './status.ts'
import { statusPatch } from './status-patch.ts'
import { type Indexes, indexesOf, triggers } from './triggers.ts'

export type GatewayWriterOptions = OwnershipTables &
  Readonly<{
    client: KubeClient
    gateways: Collection<Custom>
    slices: Collection<EndpointSlice>
    /** Routes of all kinds that can be attached to a Gateway. */
    routes: Collection<AttachingRoute>
    /** Those that carry our label. */
    children: Readonly<Record<ChildKind, Collection<KubeObject>>>
    /** Defaults of classes, in the root namespace. */
    classDefaults: Collection<ConfigMap>
    /** All ConfigMaps, from when the first Gateway names one: few clusters have such a Gateway. */
    parameterMaps: () => Collection<ConfigMap>
    rootNamespace: string
    render: Omit<RenderOptions, 'network'>
    log: Logger
    now?: () => Date
  }>

/** Deploys what Gateways of our classes ask for, keeps it as it shall be, and says in their status what came of it. */
export function gatewayWriter(options: GatewayWriterOptions): Writer {
  const { log } = options
  const indexes = indexesOf(options)
  return async (signal) => {
    /** What was applied in this term of leading: a label that is taken away is no longer in what is wanted. */
    const applied = new Map<string, string>()
    const ended = new Promise((done) => signal.addEventListener('abort', done, { once: true }))
    // Defaults not yet seen are not defaults that are missing: pods would be rolled. Nor are tags.
    const first = [
      options.tags,
      options.validators,
      options.classDefaults,
      ...Object.values(options.children),
    ]
    await Promise.race([Promise.all(first.map(({ synced }) => synced)), ended])
    await using queue = workQueue({
      name: 'gateways',
      signal,
      log,
      reconcile: (key, stop) => reconcile(key, { ...options, indexes, maps, applied, signal: stop }),
    })
    using maps = followMaps(options.parameterMaps, indexes, (key) => queue.add(key))
    using _triggers = triggers(options, indexes, (key) => queue.add(key))
    await ended
  }
}

type Term = GatewayWriterOptions &
  Readonly<{ indexes: Indexes; maps: FollowedMaps; applied: Map<string, string>; signal: AbortSignal }>

async function reconcile(key: string, term: Term): Promise<void> {
  const object = term.gateways.get(key)
  const gateway = object && readGateway(object)
  if (!object || !gateway || object.metadata.deletionTimestamp !== undefined) return forget(term.applied, key)
  const known = handledClass(gateway, term)
  if (known === undefined) return
  const parameters = parametersFor(gateway, known, term)
  if (parameters === 'unknown') return // asked for again when they are known
  const outcome = await deploy(gateway, known, parameters, term)
  const invalidParameters = outcome.kind === 'invalid' ? outcome.message : undefined
  await writeGatewayStatus(object, gateway, known, { ...seenOf(gateway, term), invalidParameters }, term)
  // What the API server refuses today it may take tomorrow: a quota, a webhook.
  if (outcome.kind === 'invalid' && outcome.refused !== undefined) throw outcome.refused
}

/** Nothing is read for a Gateway that nothing is deployed for. */
function parametersFor(gateway: Gateway, known: BuiltInClass, term: Term): Parameters | 'unknown' {
  if (known.kind === 'remote' || isManual(gateway)) return { kind: 'overlays', overlays: [] }
  const defaults = term.classDefaults.list()
  const wanted = parametersKey(gateway)
  const own = wanted === undefined ? undefined : term.maps.find(wanted)
  return own === 'unknown' ? 'unknown' : parametersOf(gateway, defaults, () => own)
}

type Deployed = Readonly<{ kind: 'done' }> | Readonly<{ kind: 'invalid'; message: string; refused?: unknown }>

/** With parameters that cannot be followed, what was deployed with the last good ones stays. */
async function deploy(
  gateway: Gateway,
  known: BuiltInClass,
  parameters: Parameters,
  term: Term,
): Promise<Deployed> {
  if (parameters.kind === 'invalid') return parameters
  if (known.kind === 'remote' || missingDataPlane(known) !== undefined || isManual(gateway))
    return { kind: 'done' }
  const { namespaces, rootNamespace } = term
  const network = namespaces.get(rootNamespace)?.metadata.labels?.['topology.istio.io/network'] ?? ''
  return applyChildren(gateway, known, { ...term.render, network }, parameters.overlays, term)
}

function seenOf(gateway: Gateway, { services, namespaces, render, indexes }: Term): Seen {
  const host = hostOf(gateway, render.domain)
  const service = host && services.get(host.serviceKey)
  const readyPorts = service
    ? readyPortsOf(service, indexes.slices.lookup(keyOf(service)))
    : new Set<number>()
  const routes = indexes.routes.lookup(gateway.key)
  const labelsOf = (namespace: string) => namespaces.get(namespace)?.metadata.labels
  return {
    host,
    service,
    readyPorts,
    attached: (listener) => routes.filter((route) => isAttached(route, gateway, listener, labelsOf)).length,
  }
}

/** Ports of a Service that a ready endpoint stands behind. */
function readyPortsOf({ spec }: Service, slices: readonly EndpointSlice[]): ReadonlySet<number> {
  const ready = slices.filter(({ endpoints }) =>
    (endpoints ?? []).some(({ conditions }) => conditions?.ready !== false),
  )
  const has = (name: string) =>
    ready.some(({ ports }) => (ports ?? []).some((port) => (port.name ?? '') === name))
  return new Set((spec?.ports ?? []).filter(({ name = '' }) => has(name)).map(({ port }) => port))
}

async function writeGatewayStatus(
  object: Custom,
  gateway: Gateway,
  known: BuiltInClass,
  seen: Seen,
  { client, signal, now = () => new Date() }: Term,
): Promise<void> {
  const { generation } = object.metadata
  const status = statusPatch(object.status, gatewayStatus(gateway, known, seen), generation, timeOf(now()))
  if (status === undefined) return
  const annotations = { [names.controllerVersion]: String(controllerVersion) }
  const how = { client, kind: kinds.Gateway, fieldManager: known.controllerName, signal }
  await writeStatus(object, status, how, annotations)
}
