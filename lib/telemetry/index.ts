export {
  describeError,
  type Fields,
  type Level,
  type LogControl,
  type Logger,
  type LogOptions,
  parseFilter,
  silent,
  startLogging,
} from './log.ts'
export { metricsRoute, Readiness, readinessRoute, serveHttp } from './health.ts'
export { Counter, Gauge, Histogram, Registry } from 'prom-client'
