import { isRecord, messageOf } from '#base'

export type Level = 'error' | 'warn' | 'info' | 'debug' | 'trace'
const order: Record<Level | 'off', number> = { off: 0, error: 1, warn: 2, info: 3, debug: 4, trace: 5 }
/** Values are printed in the order of the keys; undefined ones are left out. */
export type Fields = Readonly<Record<string, unknown>>

/** Writes lines of one scope. */
export type Logger = Readonly<
  Record<Level, (message: string, fields?: Fields) => void> & {
    /** A logger of `scope::name`. */
    child(name: string): Logger
    enabled(level: Level): boolean
  }
>

export type LogOptions = Readonly<{
  /** ztunnel's own two formats (facts: ztunnel.md §8.4). */
  format?: 'plain' | 'json'
  /** `info`, or RUST_LOG syntax: `info,ztunnel::proxy=debug,access=off`. */
  filter?: string
  write?: (line: string) => void
  now?: () => Date
}>

/** Shared by the loggers of a process; `setFilter` takes effect at once. */
export type LogControl = Readonly<{
  root: (scope: string) => Logger
  filter: () => string
  setFilter: (filter: string) => void
}>

type Rules = readonly (readonly [scope: string, level: number])[]

/** `info,access=debug` → rules, most specific first. Throws a RangeError for an unknown level. */
export function parseFilter(text: string): Rules {
  const rules = text.split(',').map((part): readonly [string, number] => {
    const [left = '', right] = part.trim().split('=')
    const level = (right ?? left).toLowerCase()
    const rank = order[level as Level]
    if (rank === undefined) throw new RangeError(`unknown log level: ${part}`)
    return [right === undefined ? '' : left, rank]
  })
  return rules.sort(([a], [b]) => b.length - a.length)
}

/** A string or structure as it stands in a plain line; only strings with blanks, quotes or control characters are quoted. */
function plainValue(value: unknown): string {
  if (typeof value === 'string' && /^[\w.:/\-[\]@%+]+$/.test(value)) return value
  const shown = value instanceof Error ? value.message : value
  return visible(JSON.stringify(shown) ?? 'undefined')
}

/** What JSON leaves as it is although a terminal or a reader may be fooled by it: C1 controls, line separators, bidi marks. */
const deceptive = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g
const visible = (json: string): string =>
  json.replace(deceptive, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)

const entries = (fields: Fields) => Object.entries(fields).filter(([, value]) => value !== undefined)

const plainLine = (time: Date, level: Level, scope: string, message: string, fields: Fields) => {
  // The message and keys are ours; a newline in a value is escaped by JSON, so one event is always one line.
  const pairs = entries(fields).map(([key, value]) => `${key}=${plainValue(value)}`)
  return `${[time.toISOString(), level, scope, message, pairs.join(' ')].join('\t')}\n`
}

const jsonLine = (time: Date, level: Level, scope: string, message: string, fields: Fields) => {
  const values = entries(fields).map(([key, value]) => [key, value instanceof Error ? value.message : value])
  const line = { level, time: time.toISOString(), scope, message, ...Object.fromEntries(values) }
  return `${visible(JSON.stringify(line))}\n`
}

/** Starts logging. Lines go to stdout unless `write` is given; a failing stdout is ignored rather than fatal. */
export function startLogging(options: LogOptions = {}): LogControl {
  const { format = 'plain', write = writeStdout, now = () => new Date() } = options
  const render = format === 'json' ? jsonLine : plainLine
  let filter = options.filter ?? 'info'
  let rules = parseFilter(filter)
  const rankOf = (scope: string) =>
    rules.find(([prefix]) => prefix === '' || scope === prefix || scope.startsWith(`${prefix}::`))?.[1] ?? 0
  const root = (scope: string): Logger => {
    const enabled = (level: Level) => order[level] <= rankOf(scope)
    const at =
      (level: Level) =>
      (message: string, fields: Fields = {}) => {
        if (enabled(level)) write(render(now(), level, scope, message, fields))
      }
    const child = (name: string) => root(`${scope}::${name}`)
    return {
      error: at('error'),
      warn: at('warn'),
      info: at('info'),
      debug: at('debug'),
      trace: at('trace'),
      child,
      enabled,
    }
  }
  return {
    root,
    filter: () => filter,
    setFilter: (next) => {
      rules = parseFilter(next)
      filter = next
    },
  }
}

/** Bytes that may wait for a slow stdout before lines are dropped; a log must never hold the data path. */
const maxBacklogBytes = 4 << 20
let dropped = 0
let guarded = false
let lines = ''

/**
 * Lines of one turn of the loop go out in one write: writes to a file are synchronous, and one per line costs a busy
 * proxy more than the rest of a short connection.
 */
function writeStdout(line: string): void {
  if (!guarded) guardStdout()
  if (process.stdout.writableLength + lines.length > maxBacklogBytes) {
    dropped++
    return
  }
  if (lines === '') setImmediate(flush)
  lines += line
}

function guardStdout(): void {
  guarded = true
  process.stdout.on('error', () => undefined) // closed pipe or full disk: logging stops, the mesh goes on
  process.on('exit', flush)
}

function flush(): void {
  if (dropped > 0) lines += `${new Date().toISOString()}\twarn\tlog\tlines dropped\tcount=${dropped}\n`
  dropped = 0
  const batch = lines
  lines = ''
  if (batch !== '') process.stdout.write(batch)
}

/** A logger that writes nowhere. */
export const silent: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  trace() {},
  child: () => silent,
  enabled: () => false,
}

/** The chain of causes of an error as one line, for a log field. */
export function describeError(error: unknown): string {
  const parts = [messageOf(error)]
  let next: unknown =
    isRecord(error) || error instanceof Error ? (error as { cause?: unknown }).cause : undefined
  while (next !== undefined && next !== null && parts.length < 5) {
    parts.push(messageOf(next))
    next = next instanceof Error ? next.cause : undefined
  }
  return parts.join(': ')
}
