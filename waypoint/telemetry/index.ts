/** What is counted. */
export { type CountedConnection, type TcpMetrics, tcpMetrics } from './tcp-metrics.ts'
export type { LabelFacts } from './labels.ts'
