import { backoffMs, sleep } from '#base'
import { describeError, type Logger } from '#telemetry'
import type { ads } from '#wire'
import { acknowledge, type Handler, type Node, TypeState } from './delta.ts'
import type { XdsMetrics } from './metrics.ts'
import { type Connect, runStream } from './stream.ts'
import { terminationOf } from './termination.ts'

export type SubscribeOptions = Connect &
  Readonly<{
    node: Node
    /** Type URL → who takes its resources. All travel on one stream. */
    types: Readonly<Record<string, Handler>>
    signal: AbortSignal
    log: Logger
    metrics?: XdsMetrics | undefined
    /** Injected by tests. */
    random?: () => number
  }>

/** A subscription under way. */
export type Subscription = Readonly<{
  /** Resolves when every type has had one response applied; stays so over later disconnects. */
  synced: Promise<void>
  /** Resolves when `signal` has fired and the stream is gone. Never rejects. */
  done: Promise<void>
}>

const baseMs = 10
const capMs = 15_000
/** Until everything has been received once, somebody waits for us. */
const firstCapMs = 2_000
/** A stream that lived this long was a good one: the next attempt comes at once. */
const settledMs = 5_000

/** Keeps a delta subscription alive for as long as `signal` allows; state is kept over reconnects. */
export function subscribe(options: SubscribeOptions): Subscription {
  const { log, metrics, node } = options
  const types = new Map(
    Object.entries(options.types).map(([url, handler]) => [url, new TypeState(url, handler)]),
  )
  const waiting = new Set(types.keys())
  const synced = Promise.withResolvers<void>()
  if (waiting.size === 0) synced.resolve()
  const opened = () => {
    log.info('Stream established')
    return [...types.values()].map((type) => type.firstRequest(node))
  }
  const onResponse = (response: ads.DeltaDiscoveryResponse, bytes: number): ads.DeltaDiscoveryRequest => {
    metrics?.message(response.typeUrl, bytes)
    const type = types.get(response.typeUrl)
    if (!type) {
      log.warn('response of a type that was not asked for', { type_url: response.typeUrl })
      return acknowledge(response)
    }
    const { request, rejected, applied } = type.answer(response)
    log.debug('received response', {
      type_url: response.typeUrl,
      size: response.resources.length,
      removes: response.removedResources.length,
    })
    for (const { name, reason } of rejected)
      log.error('rejected resource', { type_url: response.typeUrl, name, error: reason })
    // What could not be applied is not known: nobody may be served without the policies that were in it.
    if (applied) waiting.delete(response.typeUrl)
    if (waiting.size === 0) synced.resolve()
    return request
  }
  const cap = () => (waiting.size > 0 ? firstCapMs : capMs)
  return { synced: synced.promise, done: keepConnected(options, opened, onResponse, cap) }
}

async function keepConnected(
  options: SubscribeOptions,
  opened: () => readonly ads.DeltaDiscoveryRequest[],
  onResponse: (response: ads.DeltaDiscoveryResponse, bytes: number) => ads.DeltaDiscoveryRequest,
  cap: () => number,
): Promise<void> {
  const { signal, log, metrics, random } = options
  for (let failures = 0; !signal.aborted; ) {
    const started = performance.now()
    let wasOpen = false
    const nowOpen = () => {
      wasOpen = true
      return opened()
    }
    try {
      await runStream(options, nowOpen, onResponse, signal)
      // One that ends at once, again and again, must not be asked in a tight loop.
      failures = performance.now() - started > settledMs ? 0 : failures + 1
      metrics?.terminated('Complete')
      log.info('stream ended by the server, reconnecting')
    } catch (error) {
      if (signal.aborted) return
      failures = performance.now() - started > settledMs && wasOpen ? 1 : failures + 1
      metrics?.terminated(terminationOf(error, wasOpen))
      log.warn('XDS client connection error', { error: describeError(error) })
    }
    const waitMs = backoffMs(Math.max(failures, 1), { baseMs, capMs: cap(), ...(random ? { random } : {}) })
    await sleep(waitMs, signal).catch(() => undefined)
  }
}
