import type { MessagePort } from 'node:worker_threads'
import { isRecord, messageOf } from '#base'
import { jsonLine, plainLine } from './line.ts'
import { type LineSink, stdoutSink } from './line-sink.ts'
import { levelOrder, parseFilter, rankOf } from './log-filter.ts'
import { adoptPort, portSink } from './log-port.ts'

/** How much a line matters, most first. */
export type Level = 'error' | 'warn' | 'info' | 'debug' | 'trace'
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

/** Where lines go, which, and how they look. */
export type LogOptions = Readonly<{
  /** ztunnel's own two formats (facts: ztunnel.md §8.4). */
  format?: 'plain' | 'json'
  /** `info`, or RUST_LOG syntax: `info,ztunnel::proxy=debug,access=off`. */
  filter?: string
  /** Called with each line, instead of stdout. */
  write?: (line: string) => void
  /** In a worker thread: what `adopt` of the main thread's log made. Lines go there; its filter comes from there. */
  port?: MessagePort
  now?: () => Date
}>

/** Shared by the loggers of a process; `setFilter` takes effect at once. */
export type LogControl = Readonly<{
  root: (scope: string) => Logger
  /** Writes lines as they are, in a format that others read, while `info` of the scope is on. One event is one line. */
  lines: (scope: string) => (line: string) => void
  filter: () => string
  setFilter: (filter: string) => void
  /** A port for the `port` of a worker thread's log, to be transferred to it. Close it to let go of the thread. */
  adopt: () => MessagePort
  /** Lines lost so far, those of adopted threads included. */
  dropped: () => number
  /** Resolves when what was logged so far has left; the caller bounds it, for a reader may have stopped. */
  flush: () => Promise<void>
}>

/**
 * Starts logging to stdout, to `write`, or through `port` to the main thread. A failing stdout loses lines, which are
 * counted, and is never fatal.
 */
export function startLogging(options: LogOptions = {}): LogControl {
  const { format = 'plain', now = () => new Date() } = options
  const render = format === 'json' ? jsonLine : plainLine
  let filter = options.filter ?? 'info'
  let rules = parseFilter(filter)
  const adopted = new Set<MessagePort>()
  const setFilter = (next: string) => {
    rules = parseFilter(next)
    filter = next
    for (const port of adopted) port.postMessage({ filter })
  }
  const note = (count: number) => render(now(), 'warn', 'log', 'lines dropped', { count })
  const sink = sinkOf(options, note, setFilter)
  const root = (scope: string): Logger => {
    const enabled = (level: Level) => levelOrder[level] <= rankOf(rules, scope)
    const at =
      (level: Level) =>
      (message: string, fields: Fields = {}) => {
        if (enabled(level)) sink.write(render(now(), level, scope, message, fields), 1)
      }
    return {
      error: at('error'),
      warn: at('warn'),
      info: at('info'),
      debug: at('debug'),
      trace: at('trace'),
      child: (name) => root(`${scope}::${name}`),
      enabled,
    }
  }
  const lines = (scope: string) => {
    let asked: typeof rules | undefined
    let isOn = false
    return (line: string) => {
      if (asked !== rules) {
        asked = rules
        isOn = levelOrder.info <= rankOf(rules, scope)
      }
      if (isOn) sink.write(`${line.includes('\n') ? line.replaceAll('\n', ' ') : line}\n`, 1)
    }
  }
  const adopt = () => {
    const { theirs, ours } = adoptPort(sink, filter)
    adopted.add(ours)
    ours.once('close', () => adopted.delete(ours))
    return theirs
  }
  return { root, lines, filter: () => filter, setFilter, adopt, dropped: sink.dropped, flush: sink.flush }
}

function sinkOf(
  { write, port }: LogOptions,
  note: (count: number) => string,
  setFilter: (filter: string) => void,
): LineSink {
  if (port) return portSink(port, setFilter)
  return write ? callSink(write) : stdoutSink(note)
}

/** Calls with each line; what comes in batches from another thread is taken apart. */
function callSink(write: (line: string) => void): LineSink {
  let dropped = 0
  return {
    write: (lines, count) =>
      count === 1 ? write(lines) : lines.split('\n', count).forEach((line) => write(`${line}\n`)),
    lost: (count) => void (dropped += count),
    dropped: () => dropped,
    flush: async () => undefined,
  }
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
  // Facts for who handles it are no words.
  const isTold = () => next !== undefined && next !== null && (next instanceof Error || !isRecord(next))
  while (isTold() && parts.length < 5) {
    parts.push(messageOf(next))
    next = next instanceof Error ? next.cause : undefined
  }
  return parts.join(': ')
}
