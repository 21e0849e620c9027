export {
  describeError,
  type Fields,
  type Level,
  type LogControl,
  type Logger,
  type LogOptions,
  silent,
  startLogging,
} from './log.ts'
export { visible } from './line.ts'
export { parseFilter } from './log-filter.ts'
export { logMetrics } from './log-metrics.ts'
export { type MetricSource, metricsRoute } from './metrics-route.ts'
export { type Asked, Readiness, readinessRoute, type Route, serveHttp } from './health.ts'
export { countsOf, type MetricRecord, sumMetrics } from './sum-metrics.ts'
export { Counter, Gauge, Histogram, Registry } from 'prom-client'
export { type Answer, type AdminRoutes, post, serveAdmin } from './admin-server.ts'
export { answerLogging } from './answer-logging.ts'
export { surviveBugs } from './survive-bugs.ts'
export { processMetrics } from './process-metrics.ts'
export * from './access/index.ts'
