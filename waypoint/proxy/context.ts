import { follow, type Ip, MeshError } from '#base'
import type { SpiffeId, Trust, WorkloadCertificate } from '#identity'
import type { MeshState, Workload } from '#mesh'
import type { Logger } from '#telemetry'
import type { WaypointPolicies } from '../policy.ts'
import type { HttpParts } from '../phase/call.ts'
import type { Routes } from '../route/index.ts'
import type { TcpMetrics } from '../telemetry/index.ts'
import type { Clusters, Leaving } from '../upstream/index.ts'
import type { Permits } from '../permits.ts'
import type { Attachments } from './attachments.ts'
import type { Connections } from './connections.ts'

/** What everything that comes in shares. */
export type ProxyContext = Readonly<{
  identity: SpiffeId
  address: Ip
  namespace: string
  network: string
  state: MeshState
  /** Our own record; undefined before the control plane has sent it. */
  local: () => Workload | undefined
  certificate: (signal: AbortSignal) => Promise<WorkloadCertificate>
  /** Resolves when the control plane has told everything once: policies may come after what they are about. */
  told: Promise<void>
  trust: Trust
  clusters: Clusters
  leaving: Leaving
  connections: Connections
  tcp: TcpMetrics
  routes: Routes
  http: HttpParts
  attachments: Attachments
  policies: WaypointPolicies
  permits: Permits
  /** One line per connection or request. */
  access: Logger
  log: Logger
  /** How long a client may say nothing before it is taken for one whose server speaks first. */
  detectionMs: number
  /** Everything ends now. */
  signal: AbortSignal
  /** We are leaving: clients are told, nothing new is wanted. */
  draining: AbortSignal
  /** Nobody comes any more. */
  closing: AbortSignal
}>

/** A signal for the set-up of one connection, which its parents end too; disposing it ends the deadline, not the connection. */
export function deadline(
  ms: number,
  ...parents: readonly AbortSignal[]
): Disposable & { readonly signal: AbortSignal } {
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(new MeshError('timeout', { message: 'set-up timed out' })), ms)
  const following = parents.map((parent) => follow(parent, (reason) => abort.abort(reason)))
  return {
    signal: abort.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer)
      for (const one of following) one[Symbol.dispose]()
    },
  }
}
