import { coalesce, messageOf, sleep } from '#base'
import type { Collection, EndpointSlice, Service } from '#kube'
import type { Logger } from '#telemetry'
import { applyRules } from './apply-rules.ts'
import { proxyRules, withoutAffinity } from './proxy-rules.ts'

/** Changes come in bursts (a rollout); one ruleset for all of a burst. */
const debounceMs = 50
/** Whoever removed our rules by hand has them back after this. */
const resyncMs = 60_000
const retryMs = 1_000

type ProxyOptions = Readonly<{
  services: Collection<Service>
  slices: Collection<EndpointSlice>
  node: string
  skip: readonly string[]
  signal: AbortSignal
  log: Logger
  /** Loads a ruleset; injected by tests. */
  apply?: (rules: string, signal: AbortSignal) => Promise<void>
}>

/** Keeps the node's rules as the Services and endpoints are; both are synced. Resolves when the first ruleset is loaded. */
export async function startProxy(options: ProxyOptions): Promise<AsyncDisposable> {
  const { services, slices, node, skip, log, apply = applyRules } = options
  const closing = new AbortController()
  const signal = AbortSignal.any([options.signal, closing.signal])
  const first = Promise.withResolvers<void>()
  let retry: NodeJS.Timeout | undefined
  const load = coalesce(async () => {
    try {
      await sleep(debounceMs, signal)
      await apply(proxyRules({ services: services.list(), slices: slices.list(), node, skip }), signal)
      first.resolve()
    } catch (error) {
      if (signal.aborted) return first.reject(signal.reason)
      log.error('Service rules were not loaded', { error: messageOf(error) })
      clearTimeout(retry)
      retry = setTimeout(() => void load(), retryMs)
    }
  })
  const warned = new Set<string>()
  const subscriptions = [services, slices].map((rows) => rows.subscribe(() => void load()))
  const affinity = services.subscribe(() => {
    for (const name of withoutAffinity(services.list()))
      if (!warned.has(name)) {
        warned.add(name)
        log.warn('sessionAffinity is not kept by the sandbox', { service: name })
      }
  })
  void load()
  const timer = setInterval(() => void load(), resyncMs)
  await first.promise
  return {
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      clearInterval(timer)
      clearTimeout(retry)
      for (const subscription of [...subscriptions, affinity]) subscription[Symbol.dispose]()
      await load() // waits for the run under way; with the signal fired a new one ends at once
    },
  }
}
