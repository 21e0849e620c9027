import { type Metadata, status } from '@grpc/grpc-js'
import { messageOf } from '#base'
import type { Collection } from '#kube'
import type { ads } from '#wire'
import type { ClientStatus } from './client-status.ts'
import { PodQuota } from './pod-quota.ts'
import { Publisher, type PublisherOptions } from './publisher.ts'
import { readPaced } from './read-paced.ts'
import { type Rejection, Rejections } from './rejections.ts'
import type { View } from './snapshot.ts'
import { SendBudget } from './send-budget.ts'
import type { Call } from './service.ts'
import { AdsStream, type Caller, notReading, type Outlet } from './stream.ts'

/** What is served over xDS, and to whom. */
export type ServeOptions = PublisherOptions &
  Readonly<{
    /** Who opened a stream; a reason when that cannot be said. */
    authenticate: (
      metadata: Metadata,
      peer: string,
    ) => Promise<
      Readonly<{ kind: 'caller' } & Caller> | Readonly<{ kind: 'refused'; reason: string; later: boolean }>
    >
    /** The key by which a client on a node is given that node's workloads without asking. */
    nodeKey: (node: string) => string
    /** Whose word that a resource cannot be read counts for the resource: proxies of the mesh, not any workload. */
    isProxy?: (caller: Caller, typeUrl: string) => boolean
    version: string
    /** For tests; see `sendBudgetBytes` and `sendTimeoutMs`. */
    limits?: Readonly<{ budgetBytes: number; timeoutMs: number }>
  }>

/** Buffered for all clients together: the mesh of 10,000 pods some sixteen times. The others wait their turn. */
const sendBudgetBytes = 64 << 20
/** Long for a client that is alive, and short enough for those that wait behind one that is not. */
const sendTimeoutMs = 30_000

/** Implements `AggregatedDiscoveryService`. Dispose ends all streams. */
type DeltaServer = Disposable &
  Readonly<{
    deltaAggregatedResources: (call: Call) => void
    /** What clients see, by type URL. */
    views: ReadonlyMap<string, View>
    /** Resources of a type that proxies reject, by name. */
    rejections: (typeUrl: string) => Collection<Rejection>
    /** Who is connected, and how far each has come. */
    clients: () => readonly ClientStatus[]
  }>

/** Publishes the collections to whoever subscribes. */
export function serveDeltas(options: ServeOptions): DeltaServer {
  const { log, metrics, version } = options
  const streams = new Map<AdsStream, Readonly<{ peer: string; pod: string }>>()
  const counted = () => metrics.clients.set({ version }, streams.size)
  let rejections: Rejections | undefined
  const publisher = new Publisher(options, (url, names) => {
    rejections?.published(url, names)
    for (const stream of streams.keys()) stream.published(url, names)
  })
  const held = (rejections = new Rejections(publisher.views))
  const limits = options.limits ?? { budgetBytes: sendBudgetBytes, timeoutMs: sendTimeoutMs }
  const budget = new SendBudget(limits.budgetBytes)
  const quota = new PodQuota()
  const letGo = (pod: string) => {
    quota.stick(pod)
    for (const [stream, of] of streams) if (of.pod === pod) stream.end(notReading)
  }
  const serve = async (call: Call) => {
    call.on('error', (error) => log.debug('stream failed', { error: messageOf(error) }))
    const caller = await callerOf(call, options)
    if (!caller || call.cancelled) return
    const pod = caller.pod?.uid ?? ''
    const full = quota.enter(pod)
    if (full !== undefined) {
      log.warn('stream refused', { peer: call.getPeer(), reason: full })
      return void call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'too many streams' })
    }
    const { views } = publisher
    const { nodeKey, referredTo } = options
    const shared = { views, referredTo, nodeKey, budget, sendTimeoutMs: limits.timeoutMs, log, metrics }
    const rejected = (url: string, error: string) => {
      if (options.isProxy?.(caller, url) === true) held.note(call, url, error)
    }
    const stream = new AdsStream(
      outletOf(call, () => letGo(pod)),
      { ...shared, caller, rejected },
    )
    streams.set(stream, { peer: call.getPeer(), pod })
    counted()
    const gone = () => {
      if (streams.delete(stream)) {
        quota.leave(pod)
        held.left(call)
        counted()
      }
      stream.end()
    }
    for (const event of ['end', 'close', 'cancelled']) call.on(event, gone)
    readPaced<ads.DeltaDiscoveryRequest>(call, (request) => stream.take(request)) // from here on; until now requests waited unread
  }
  return {
    deltaAggregatedResources: (call) => {
      serve(call).catch((error: unknown) => {
        log.error('stream cannot be served', { error: messageOf(error) })
        call.emit('error', { code: status.UNAVAILABLE, details: 'try again' })
      })
    },
    views: publisher.views,
    rejections: (typeUrl) => held.of(typeUrl),
    clients: () => [...streams].map(([stream, { peer }]) => stream.status(peer)),
    [Symbol.dispose]() {
      publisher[Symbol.dispose]()
      for (const stream of streams.keys()) stream.end()
      streams.clear()
    },
  }
}

/** Who opened the stream; undefined when it was refused. */
async function callerOf(call: Call, { authenticate, log }: ServeOptions): Promise<Caller | undefined> {
  const caller = await authenticate(call.metadata, call.getPeer())
  if (call.cancelled) return undefined
  const reason =
    caller.kind === 'refused' ? caller.reason : caller.pod ? undefined : 'token is bound to no pod'
  if (caller.kind === 'caller' && reason === undefined) return caller
  log.warn('stream refused', { peer: call.getPeer(), reason })
  const code = caller.kind === 'refused' && caller.later ? status.UNAVAILABLE : status.UNAUTHENTICATED
  call.emit('error', { code, details: 'authentication failure' })
  return undefined
}

const outletOf = (call: Call, letGo: () => void): Outlet => ({
  write: (response, taken) => void call.write(response, (error?: Error | null) => taken(Boolean(error))),
  end: (refusal) => {
    if (refusal === notReading) letGo()
    if (refusal) call.emit('error', refusal)
    else call.end()
  },
})
