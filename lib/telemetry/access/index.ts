/** Formats of access logs, expressions over requests, and what waypoints are told of both. */
export { type FormatPart, knownOperators, type Operator, parseFormat, type ParsedFormat } from './format.ts'
export { defaultFields as defaultAccessFields, defaultText as defaultAccessText } from './defaults.ts'
export { type CelNode, type HeaderMap, parseCel, type ParsedCel } from './cel-parse.ts'
export { type CelFacts, type CelValue, evaluateCel } from './cel.ts'
export {
  type AccessLogSpec,
  formatProblem,
  formatRemarks,
  type JsonFormat,
  type MetricName,
  metricNames,
  type MetricSpec,
  parseWaypointTelemetry,
  type ParsedTelemetry,
  type ScopeTelemetry,
  type WaypointTelemetry,
  waypointTelemetryTypeUrl,
  waypointTelemetryVersion,
} from './model.ts'
