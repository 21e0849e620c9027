import { isDeepStrictEqual } from 'node:util'
import { type Collection, type Custom, type KubeClient, kinds, workQueue } from '#kube'
import type { Logger } from '#telemetry'
import { readGateway } from '../collections/index.ts'
import { timeOf, type Writer, writeStatus } from '../reconcile/index.ts'
import type { AttachingRoute } from './attachment.ts'
import type { RouteKind } from './listeners.ts'
import { handledClass, type OwnershipTables } from './ownership.ts'
import { type HandledGateway, mergedGatewayParents, parentEntries } from './route-parents.ts'

type RouteParentOptions = OwnershipTables &
  Readonly<{
    client: KubeClient
    gateways: Collection<Custom>
    /** By `kind/namespace/name`, those that name a Gateway. */
    routes: Collection<AttachingRoute>
    /** The routes as they are, by `namespace/name`. */
    objects: Readonly<Record<RouteKind, Collection<Custom>>>
    log: Logger
    now?: () => Date
  }>

/** Whose entries these are, whatever the class of the Gateway. */
const controllerName = 'istio.io/gateway-controller'

/** Tells routes what became of them at the Gateways that they name. */
export function routeParentWriter(options: RouteParentOptions): Writer {
  const { routes, gateways, log } = options
  const byGateway = routes.indexBy(({ parents }) => [...new Set(parents.map(({ gateway }) => gateway))])
  const byNamespace = routes.indexBy(({ namespace }) => [namespace])
  return async (signal) => {
    const ended = new Promise((done) => signal.addEventListener('abort', done, { once: true }))
    await Promise.race([Promise.all([options.tags.synced, options.validators.synced]), ended])
    await using queue = workQueue({
      name: 'routes of Gateways',
      signal,
      log,
      reconcile: (key, stop) => write(key, options, stop),
    })
    const addAll = (found: readonly AttachingRoute[]) => {
      for (const { key } of found) queue.add(key)
    }
    using stack = new DisposableStack()
    stack.use(
      routes.subscribe((changes) => {
        for (const { key } of changes) queue.add(key)
      }),
    )
    stack.use(
      gateways.subscribe((changes) => {
        for (const { key } of changes) addAll(byGateway.lookup(key))
      }),
    )
    stack.use(
      options.namespaces.subscribe((changes) => {
        for (const { key } of changes) addAll(byNamespace.lookup(key))
      }),
    )
    for (const shared of [options.classes, options.tags, options.validators])
      stack.use(shared.subscribe(() => addAll(routes.list())))
    await ended
  }
}

/** A route that names no Gateway any more loses what was said of those. */
async function write(key: string, options: RouteParentOptions, signal: AbortSignal): Promise<void> {
  const { client, objects, now = () => new Date() } = options
  const [kind = '', namespace = '', name = ''] = key.split('/')
  const known = routeKinds.find((one) => one === kind)
  const object = known && objects[known].get(`${namespace}/${name}`)
  if (!known || !object || object.metadata.deletionTimestamp !== undefined) return
  const route = options.routes.get(key) ?? { key, kind: known, namespace, hostnames: [], parents: [] }
  const labelsOf = (other: string) => options.namespaces.get(other)?.metadata.labels
  const wanted = parentEntries(route, (gateway) => handled(gateway, options), labelsOf)
  const { generation } = object.metadata
  const others = route.parents.filter(
    ({ gateway }) => options.gateways.get(gateway) !== undefined && handled(gateway, options) === undefined,
  )
  const isOthers = (ref: unknown) => others.some(({ written }) => isDeepStrictEqual(written, ref))
  const parents = mergedGatewayParents(
    object.status,
    wanted,
    isOthers,
    controllerName,
    generation,
    timeOf(now()),
  )
  if (parents === undefined) return
  await writeStatus(object, { parents }, { client, kind: kinds[known], fieldManager: controllerName, signal })
}

const routeKinds = ['HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute'] as const

function handled(key: string, options: RouteParentOptions): HandledGateway | undefined {
  const object = options.gateways.get(key)
  const gateway = object && readGateway(object)
  const known = gateway && handledClass(gateway, options)
  return gateway && known ? { gateway, known } : undefined
}
