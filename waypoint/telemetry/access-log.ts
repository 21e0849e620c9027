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
import { type Evaluate, operators } from './operators.ts'

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

/** One operator, ready to be asked. */
function valueOf({ name, argument, maxLength }: Operator): Evaluate {
  const evaluate = operators[name]?.(argument) ?? (() => undefined)
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

function textOf(text: string, omitsEmpty: boolean): Render<string> {
  const parts = partsOf(text).map((part) => (typeof part === 'string' ? part : valueOf(part)))
  const empty = omitsEmpty ? '' : '-'
  return (facts) => {
    let line = ''
    for (const part of parts)
      if (typeof part === 'string') line += part
      else {
        const value = part(facts)
        line += value === undefined ? empty : typeof value === 'number' ? value : safe(value)
      }
    return line
  }
}

type JsonValue = string | number | null | { [name: string]: JsonValue }

/** One operator alone keeps its kind, and is null where it has no value (Envoy). */
function jsonValueOf(text: string, omitsEmpty: boolean): Render<JsonValue> {
  const [first, ...others] = partsOf(text)
  if (first !== undefined && typeof first !== 'string' && others.length === 0) {
    const evaluate = valueOf(first)
    return (facts) => evaluate(facts) ?? null
  }
  const parts = partsOf(text).map((part) => (typeof part === 'string' ? part : valueOf(part)))
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

/** Whether a request is to be logged; an expression that has no value for it says no (Envoy). */
function filterOf(expression: string | undefined): (facts: AccessFacts) => boolean {
  if (expression === undefined) return () => true
  const read = parseCel(expression)
  if (read.kind === 'unreadable') return () => false
  return (facts) => evaluateCel(read.root, celFactsOf(facts)) === true
}

/** The logs of one scope. Each line is one, whatever is in a value. */
export function accessLog(specs: readonly AccessLogSpec[], write: (line: string) => void): AccessLog {
  const logs = specs.map((spec) => ({ line: lineOf(spec), wants: filterOf(spec.filter) }))
  return (facts) => {
    for (const { line, wants } of logs) if (wants(facts)) write(line(facts))
  }
}
