import { isRecord } from '#base'
import { parse } from 'yaml'
import {
  type AccessLogSpec,
  defaultAccessFields,
  defaultAccessText,
  formatProblem,
  formatRemarks,
  type JsonFormat,
} from '#telemetry'

/** What the mesh's settings say of logs and who makes them. */
export type MeshTelemetry = Readonly<{
  /** Where no Telemetry and no default says anything; none: nothing is logged. */
  plain: AccessLogSpec | undefined
  /** By name, those that write access logs as we can. */
  loggers: ReadonlyMap<string, AccessLogSpec>
  /** Names of the others, with what they are. */
  others: ReadonlyMap<string, string>
  defaultLoggers: readonly string[]
  /** What of it is not done as written. */
  remarks: readonly string[]
}>

export const meshTelemetryKey = 'mesh'
/** Istio's own provider, whose format the settings of the mesh are. */
const builtIn = 'envoy'
const stdout = '/dev/stdout'

/** Istio's defaults. */
export const usualMeshTelemetry: MeshTelemetry = {
  plain: undefined,
  loggers: new Map([[builtIn, { format: { kind: 'text', text: defaultAccessText }, omitsEmpty: false }]]),
  others: new Map([
    ['prometheus', 'prometheus'],
    ['stackdriver', 'stackdriver'],
  ]),
  defaultLoggers: [],
  remarks: [],
}

/** Reads `mesh` of the ConfigMap; throws a TypeError that names the field which cannot be read. */
export function meshTelemetryFrom(text: string | undefined): MeshTelemetry {
  const mesh: unknown = parse(text ?? '{}') ?? {}
  if (!isRecord(mesh)) throw new TypeError('mesh: not a map')
  const remarks: string[] = []
  const own: AccessLogSpec = { format: meshFormat(mesh), omitsEmpty: false }
  // Of the default nothing is remarked: nobody asked for its fields.
  if (textAt(mesh, 'accessLogFormat') !== '')
    remarks.push(...formatRemarks(own.format).map((remark) => `accessLogFormat: ${remark}`))
  const file = textAt(mesh, 'accessLogFile')
  if (file !== '' && file !== stdout)
    remarks.push(`accessLogFile: waypoints write to ${stdout}, not to ${file}`)
  const loggers = new Map([[builtIn, own]])
  const others = new Map(usualMeshTelemetry.others)
  for (const [i, provider] of listAt(mesh, 'extensionProviders').entries())
    readProvider(provider, `extensionProviders[${i}]`, { own, loggers, others, remarks })
  const defaults = mesh['defaultProviders']
  const named = isRecord(defaults) ? listAt(defaults, 'accessLogging') : []
  return {
    plain: file === '' ? undefined : own,
    loggers,
    others,
    defaultLoggers: named.filter((name): name is string => typeof name === 'string'),
    remarks,
  }
}

function meshFormat(mesh: Record<string, unknown>): AccessLogSpec['format'] {
  const encoding = textAt(mesh, 'accessLogEncoding')
  const text = textAt(mesh, 'accessLogFormat')
  if (encoding !== '' && encoding !== 'TEXT' && encoding !== 'JSON')
    throw new TypeError(`accessLogEncoding: ${encoding} is neither TEXT nor JSON`)
  const format =
    encoding === 'JSON'
      ? ({ kind: 'json', fields: text === '' ? defaultAccessFields : fieldsIn(text) } as const)
      : ({ kind: 'text', text: text || defaultAccessText } as const)
  return judged(format, 'accessLogFormat')
}

function fieldsIn(text: string): JsonFormat {
  try {
    return fieldsOf(JSON.parse(text), 'accessLogFormat')
  } catch (error) {
    if (error instanceof TypeError) throw error
    throw new TypeError('accessLogFormat: is no JSON object, which the encoding JSON wants', { cause: error })
  }
}

function fieldsOf(value: unknown, path: string): JsonFormat {
  if (!isRecord(value)) throw new TypeError(`${path}: not a map`)
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [
      name,
      typeof one === 'string' ? one : fieldsOf(one, `${path}.${name}`),
    ]),
  )
}

function judged(format: AccessLogSpec['format'], path: string): AccessLogSpec['format'] {
  const problem = formatProblem(format)
  if (problem !== undefined) throw new TypeError(`${path}: ${problem}`)
  return format
}

type Reading = Readonly<{
  own: AccessLogSpec
  loggers: Map<string, AccessLogSpec>
  others: Map<string, string>
  remarks: string[]
}>

function readProvider(value: unknown, path: string, { own, loggers, others, remarks }: Reading): void {
  if (!isRecord(value) || typeof value['name'] !== 'string') throw new TypeError(`${path}.name: is needed`)
  const { name, envoyFileAccessLog: file } = value
  if (file === undefined) {
    others.set(name, Object.keys(value).find((key) => key !== 'name') ?? 'nothing')
    loggers.delete(name)
    return
  }
  if (!isRecord(file)) throw new TypeError(`${path}.envoyFileAccessLog: not a map`)
  const target = textAt(file, 'path')
  if (target !== '' && target !== stdout)
    remarks.push(`${path}: waypoints write to ${stdout}, not to ${target}`)
  const { logFormat } = file
  const omitsEmpty = file['omitEmptyValues'] === true
  if (logFormat === undefined && name === builtIn && !omitsEmpty) return void loggers.set(name, own)
  const format = judged(providerFormat(logFormat, `${path}.envoyFileAccessLog.logFormat`), path)
  remarks.push(...formatRemarks(format).map((remark) => `${path}: ${remark}`))
  loggers.set(name, { format, omitsEmpty })
}

function providerFormat(value: unknown, path: string): AccessLogSpec['format'] {
  if (value === undefined) return { kind: 'text', text: defaultAccessText }
  if (!isRecord(value)) throw new TypeError(`${path}: not a map`)
  if (value['labels'] !== undefined) {
    const fields = fieldsOf(value['labels'], `${path}.labels`)
    return { kind: 'json', fields: Object.keys(fields).length === 0 ? defaultAccessFields : fields }
  }
  return { kind: 'text', text: textAt(value, 'text') || defaultAccessText }
}

function textAt(map: Record<string, unknown>, field: string): string {
  const value = map[field]
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw new TypeError(`${field}: not a text`)
  return value
}

function listAt(map: Record<string, unknown>, field: string): readonly unknown[] {
  const value = map[field]
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw new TypeError(`${field}: not a list`)
  return value
}
