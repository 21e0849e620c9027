/** What the proxies share, and what one pod's proxy needs. */
export type { PodContext, ProxyContext } from './context.ts'
/** How many connections the process takes on, over all of its workers. */
export {
  Admission,
  admissionMetrics,
  forgetWorker,
  shareAdmission,
  type SharedAdmission,
} from './admission.ts'
/** Every open connection, to be judged again when the mesh changes. */
export { Connections } from './connections.ts'
export { policyReport } from './policy-report.ts'
/** ztunnel's traffic metrics. */
export { proxyMetrics, type ProxyMetrics } from './metrics.ts'
/** What outbound connections share: names that were looked up. */
export { createRouting, type Routing } from './routing.ts'
/** What a pod could not reach a moment ago. */
export { Ejections } from './ejections.ts'
export type { AskHost } from './resolve-host.ts'
/** One accepted connection each, from its first byte to its log line. */
export { handleOutbound } from './outbound.ts'
export { handleHbone } from './inbound.ts'
export { handlePlaintext } from './passthrough.ts'
/** What may be set about connections. */
export type { Tuning } from './tuning.ts'
/** An access log that strangers cannot flood. */
export { limitedLog } from './limited-log.ts'
