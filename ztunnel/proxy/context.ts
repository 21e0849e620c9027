import { follow, MeshError, type SocketAddress } from '#base'
import type { HboneLimits, HbonePool } from '#hbone'
import type { SpiffeId, Trust, WorkloadCertificate } from '#identity'
import type { Netns } from '#linux'
import type { Logger } from '#telemetry'
import type { MeshState, PodName, Workload } from '../state/index.ts'
import type { Admission } from './admission.ts'
import type { Connections } from './connections.ts'
import type { Ejections } from './ejections.ts'
import type { ProxyMetrics } from './metrics.ts'
import type { Routing } from './routing.ts'
import type { Tuning } from './tuning.ts'

/** What every pod's proxy shares. */
export type ProxyContext = Readonly<{
  state: MeshState
  certificates: Readonly<{ get(id: SpiffeId, signal: AbortSignal): Promise<WorkloadCertificate> }>
  /** What peers are judged by, at their handshakes and afterwards. */
  trust: Trust
  connections: Connections
  admission: Admission
  metrics: ProxyMetrics
  /** One line per connection. */
  access: Logger
  /** Our network, '' where there is only one. */
  network: string
  /** SO_MARK of every socket made for a pod, by which the redirection rules know ours. */
  mark: number
  /** Show the app its peer's address rather than ours. */
  keepSource: boolean
  random: () => number
  limits: Partial<HboneLimits>
  tuning: Tuning
  /** What outbound connections share. */
  routing: Routing
}>

/** One enrolled pod. */
export type PodContext = ProxyContext &
  Readonly<{
    pod: PodName & Readonly<{ uid: string }>
    netns: Netns
    pool: HbonePool
    /** What this pod could not reach a moment ago: it may be its own rules that forbid it, and say nothing to others. */
    ejections: Ejections
    /** Are the rules in place that bring an app's answers to a foreign address back to us? */
    showsSource: () => boolean
    /** The pod is gone, or we are: everything of it ends now. */
    signal: AbortSignal
    /** We are leaving: tunnels are announced to end, nothing new comes in. */
    draining: AbortSignal
  }>

/** The record of the pod itself; `no-workload` when the control plane has not sent it in time. */
export async function localWorkload(
  { state, pod, tuning }: PodContext,
  signal: AbortSignal,
): Promise<Workload> {
  const known = state.localWorkload(pod)
  if (known) return known
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<Workload>()
  const failed = () =>
    reject(
      signal.aborted
        ? signal.reason
        : new MeshError('no-workload', { message: `unknown source workload: ${pod.namespace}/${pod.name}` }),
    )
  const timer = setTimeout(failed, tuning.workloadMs)
  using _following = follow(signal, failed)
  using _watch = state.onChange(() => {
    const found = state.localWorkload(pod)
    if (found) resolve(found)
  })
  try {
    return await promise
  } finally {
    clearTimeout(timer)
  }
}

/** A signal for the set-up of one connection; disposing it ends the deadline, not the connection. */
export function deadline(ms: number, parent: AbortSignal): Disposable & { readonly signal: AbortSignal } {
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(new MeshError('timeout', { message: 'set-up timed out' })), ms)
  const following = follow(parent, (reason) => abort.abort(reason))
  return {
    signal: abort.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer)
      following[Symbol.dispose]()
    },
  }
}

/** Everything before the first byte is forwarded: 5 s for the record, 10 s each to dial and to be answered, thrice at most. */
export const setupMs = 60_000

export type Ends = Readonly<{ src: SocketAddress; dst: SocketAddress }>
