import { z } from 'zod'
import { messageOf } from '#base'
import { type ParsedFormat, parseFormat } from './format.ts'
import { parseCel } from './cel-parse.ts'

/** xDS type URL of `WaypointTelemetry`: one resource per waypoint, named by its key. */
export const waypointTelemetryTypeUrl = 'type.googleapis.com/lateen.dev.WaypointTelemetry'
/** The version of this model; a payload of another one is not understood. */
export const waypointTelemetryVersion = 1

/** A format as an object; its values are text with operators, or objects again. */
export type JsonFormat = Readonly<{ [name: string]: string | JsonFormat }>

/** One access log, on standard output. */
export type AccessLogSpec = Readonly<{
  format: Readonly<{ kind: 'text'; text: string }> | Readonly<{ kind: 'json'; fields: JsonFormat }>
  /** What is absent is left out, rather than printed as `-`. */
  omitsEmpty: boolean
  /** Only requests of which this is true. */
  filter?: string
}>

/** Istio's names for the series of waypoints. */
export const metricNames = [
  'REQUEST_COUNT',
  'REQUEST_DURATION',
  'REQUEST_SIZE',
  'RESPONSE_SIZE',
  'TCP_OPENED_CONNECTIONS',
  'TCP_CLOSED_CONNECTIONS',
  'TCP_SENT_BYTES',
  'TCP_RECEIVED_BYTES',
  'GRPC_REQUEST_MESSAGES',
  'GRPC_RESPONSE_MESSAGES',
] as const

/** Istio's name of a series in Telemetry objects. */
export type MetricName = (typeof metricNames)[number]

/** What is different of one series: it is not told, or has other labels. A label without a value is taken away. */
export type MetricSpec = Readonly<{
  disabled: boolean
  labels: Readonly<Record<string, string | null>>
}>

/** What is logged and counted of the requests to one service, or to all that are not named. */
export type ScopeTelemetry = Readonly<{
  logs: readonly AccessLogSpec[]
  metrics: Readonly<Partial<Record<MetricName, MetricSpec>>>
}>

/** What one waypoint logs and counts. */
export type WaypointTelemetry = ScopeTelemetry &
  Readonly<{
    version: typeof waypointTelemetryVersion
    /** In place of the waypoint's own; by `namespace/hostname`. */
    services: Readonly<Record<string, ScopeTelemetry>>
  }>

const JsonFormat: z.ZodType<JsonFormat> = z.lazy(() =>
  z.record(z.string(), z.union([z.string(), JsonFormat])),
)
const LogSpec = z.strictObject({
  format: z.union([
    z.strictObject({ kind: z.literal('text'), text: z.string() }),
    z.strictObject({ kind: z.literal('json'), fields: JsonFormat }),
  ]),
  omitsEmpty: z.boolean(),
  filter: z.string().exactOptional(),
})
const MetricSpec = z.strictObject({
  disabled: z.boolean(),
  labels: z.record(z.string().regex(/^[a-zA-Z_]\w{0,127}$/), z.string().nullable()),
})
const scope = {
  logs: z.array(LogSpec).max(8),
  metrics: z.partialRecord(z.enum(metricNames), MetricSpec),
}
const Telemetry = z.strictObject({
  version: z.literal(waypointTelemetryVersion),
  ...scope,
  services: z.record(z.string(), z.strictObject(scope)),
})

/** What a payload says, or why it cannot be read. */
export type ParsedTelemetry =
  | Readonly<{ kind: 'telemetry'; telemetry: WaypointTelemetry }>
  | Readonly<{ kind: 'unreadable'; problem: string }>

/** Payload → what a waypoint logs and counts; as a whole or not at all, for half of it would hide the rest. */
export function parseWaypointTelemetry(bytes: Uint8Array): ParsedTelemetry {
  const no = (problem: string): ParsedTelemetry => ({ kind: 'unreadable', problem })
  try {
    const read = Telemetry.safeParse(JSON.parse(Buffer.from(bytes).toString()))
    if (!read.success) return no(z.prettifyError(read.error))
    const telemetry = read.data
    for (const one of [telemetry, ...Object.values(telemetry.services)]) {
      const problem = problemOf(one)
      if (problem !== undefined) return no(problem)
    }
    return { kind: 'telemetry', telemetry }
  } catch (error) {
    return no(messageOf(error))
  }
}

function problemOf({ logs, metrics }: ScopeTelemetry): string | undefined {
  for (const { format, filter } of logs) {
    const problem = formatProblem(format) ?? (filter === undefined ? undefined : celProblem(filter))
    if (problem !== undefined) return problem
  }
  for (const { labels } of Object.values(metrics))
    for (const value of Object.values(labels)) {
      const problem = value === null ? undefined : celProblem(value)
      if (problem !== undefined) return problem
    }
  return undefined
}

const celProblem = (text: string) => {
  const read = parseCel(text)
  return read.kind === 'unreadable' ? `${text}: ${read.problem}` : undefined
}

const maxFields = 128
const maxDepth = 5

/** All texts of a format, with the path of each. */
function textsOf(format: AccessLogSpec['format']): readonly (readonly [string, string])[] {
  if (format.kind === 'text') return [['', format.text]]
  const found: [string, string][] = []
  const walk = (fields: JsonFormat, path: string, depth: number): void => {
    for (const [name, value] of Object.entries(fields))
      if (typeof value === 'string') found.push([`${path}${name}`, value])
      else if (depth < maxDepth) walk(value, `${path}${name}.`, depth + 1)
      else found.push([`${path}${name}`, '%']) // nested too deeply: no format
  }
  walk(format.fields, '', 1)
  return found
}

/** Why a format cannot be used. */
export function formatProblem(format: AccessLogSpec['format']): string | undefined {
  const texts = textsOf(format)
  if (texts.length > maxFields) return `more than ${maxFields} fields`
  for (const [path, text] of texts) {
    const read = parseFormat(text)
    if (read.kind === 'unreadable') return path === '' ? read.problem : `${path}: ${read.problem}`
  }
  return undefined
}

/** What of a format that can be used never has a value. */
export const formatRemarks = (format: AccessLogSpec['format']): readonly string[] => [
  ...new Set(textsOf(format).flatMap(([, text]) => remarksOf(parseFormat(text)))),
]
const remarksOf = (read: ParsedFormat) => (read.kind === 'format' ? read.remarks : [])
