/** What is counted, and what is logged. */
export { type CountedConnection, type Moved, type TcpMetrics, tcpMetrics } from './tcp-metrics.ts'
export type { Messages } from './message-metrics.ts'
export { type RequestFacts, type RequestMetrics, requestMetrics } from './request-metrics.ts'
export type { LabelFacts } from './labels.ts'
export type { AccessFacts } from './access-facts.ts'
export { type AccessLog, accessLog } from './access-log.ts'
export { fixedLog, type RequestLog, ToldTelemetry } from './told.ts'
