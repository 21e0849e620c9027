import {
  type AccessLogSpec,
  type FormatPart,
  type JsonFormat,
  type Operator,
  parseCel,
  parseFormat,
  evaluateCel,
  visible,
} from '#telemetry'
import type { AccessFacts } from './access-facts.ts'
import { celFactsOf } from './cel-facts.ts'
import { type Evaluate, isOurs, never, operators } from './operators.ts'

/** Writes a line per request, or none. */
export type AccessLog = (facts: AccessFacts) => void

/** Longest text of a client that a line repeats. */
const maxText = 1_024

/** A client's text between quotes can end neither them nor the line (some take U+0085 for one's end), nor steer a terminal. */
// oxlint-disable-next-line no-control-regex
const unsafe = /["\\\u0000-\u001f\u007f-\u009f]/g
const unsafeOnce = new RegExp(unsafe.source)
const safe = (text: string): string =>
  !unsafeOnce.test(text)
    ? text
    : text.replaceAll(unsafe, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)

/** One operator, ready to be asked; undefined for what is never there. */
function valueOf({ name, argument, maxLength }: Operator): Evaluate | undefined {
  const evaluate = operators[name]?.(argument) ?? never
  if (evaluate === never) return undefined
  const longest = Math.min(maxLength ?? maxText, maxText)
  return (facts) => {
    const value = evaluate(facts)
    if (typeof value !== 'string') return value
    return value === '' ? undefined : value.length > longest ? value.slice(0, longest) : value
  }
}

type Render<T> = (facts: AccessFacts) => T

/** The parts were judged when the format came. */
function partsOf(text: string): readonly FormatPart[] {
  const read = parseFormat(text)
  return read.kind === 'format' ? read.parts : []
}

/** A text, and what is shown of it. */
type Shown = { text: string; safe: string }

/** What each operator showed last, for all logs: it is mostly what it shows next, and need not be looked at again. */
const lastShown = new Map<string, Shown>()
/** A text may keep the whole head of its request in memory, some 60 KiB. Operators beyond it look each time. */
const maxLastShown = 128

function lastOf({ name, argument }: Operator): Shown | undefined {
  const key = `${name}(${argument})`
  const known = lastShown.get(key)
  if (known || lastShown.size === maxLastShown) return known
  const last = { text: '', safe: '' }
  lastShown.set(key, last)
  return last
}

/** An operator in a line of text. */
function shownOf(operator: Operator, value: Evaluate, empty: string): Render<string | number> {
  if (isOurs(operator)) return (facts) => value(facts) ?? empty
  const last = lastOf(operator)
  return (facts) => {
    const now = value(facts)
    if (typeof now !== 'string') return now ?? empty
    if (!last) return safe(now)
    if (now !== last.text) {
      last.text = now
      last.safe = safe(now)
    }
    return last.safe
  }
}

/** What is always the same is part of the text around it. */
function piecesOf(text: string, empty: string): readonly (string | Render<string | number>)[] {
  const pieces: (string | Render<string | number>)[] = []
  for (const part of partsOf(text)) {
    const value = typeof part === 'string' ? undefined : valueOf(part)
    const before = pieces.at(-1)
    if (typeof part !== 'string' && value) pieces.push(shownOf(part, value, empty))
    else {
      const fixed = typeof part === 'string' ? part : empty
      if (typeof before === 'string') pieces[pieces.length - 1] = before + fixed
      else pieces.push(fixed)
    }
  }
  return pieces
}

function textOf(text: string, omitsEmpty: boolean): Render<string> {
  const pieces = piecesOf(text, omitsEmpty ? '' : '-')
  return (facts) => {
    let line = ''
    for (const piece of pieces) line += typeof piece === 'string' ? piece : piece(facts)
    return line
  }
}

type JsonValue = string | number | null | { [name: string]: JsonValue }

/** One operator alone keeps its kind, and is null where it has no value (Envoy). */
function jsonValueOf(text: string, omitsEmpty: boolean): Render<JsonValue> {
  const [first, ...others] = partsOf(text)
  if (first !== undefined && typeof first !== 'string' && others.length === 0) {
    const evaluate = valueOf(first) ?? never
    return (facts) => evaluate(facts) ?? null
  }
  const parts = partsOf(text).map((part) => (typeof part === 'string' ? part : (valueOf(part) ?? never)))
  const empty = omitsEmpty ? '' : '-'
  return (facts) =>
    parts.map((part) => (typeof part === 'string' ? part : `${part(facts) ?? empty}`)).join('')
}

function objectOf(fields: JsonFormat, omitsEmpty: boolean): Render<JsonValue> {
  const entries = Object.entries(fields).map(
    ([name, value]) =>
      [
        name,
        typeof value === 'string' ? jsonValueOf(value, omitsEmpty) : objectOf(value, omitsEmpty),
      ] as const,
  )
  return (facts) => {
    const made: { [name: string]: JsonValue } = {}
    for (const [name, render] of entries) {
      const value = render(facts)
      if (value !== null || !omitsEmpty) made[name] = value
    }
    return made
  }
}

const lineOf = ({ format, omitsEmpty }: AccessLogSpec): Render<string> => {
  if (format.kind === 'text') return textOf(format.text.replace(/\n$/, ''), omitsEmpty)
  const render = objectOf(format.fields, omitsEmpty)
  return (facts) => visible(JSON.stringify(render(facts)))
}

/** Whether a request is to be logged; an expression that has no value for it says no (Envoy). Undefined: always. */
function filterOf(expression: string | undefined): ((facts: AccessFacts) => boolean) | undefined {
  if (expression === undefined) return undefined
  const read = parseCel(expression)
  if (read.kind === 'unreadable') return () => false
  return (facts) => evaluateCel(read.root, celFactsOf(facts)) === true
}

/** The logs of one scope. Each line is one, whatever is in a value. */
export function accessLog(specs: readonly AccessLogSpec[], write: (line: string) => void): AccessLog {
  const logs = specs.map((spec) => ({ line: lineOf(spec), wants: filterOf(spec.filter) }))
  return (facts) => {
    for (const { line, wants } of logs) if (!wants || wants(facts)) write(line(facts))
  }
}
