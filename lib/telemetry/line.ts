import type { Fields, Level } from './log.ts'

/** One event as one line, with its end. */
type Render = (time: Date, level: Level, scope: string, message: string, fields: Fields) => string

/** Longest value of a field or message that is printed in full; a stranger's text is no reason for a longer line. */
const maxValueChars = 1_024

/** An IP address with a port: the one kind of text that ztunnel does not quote. */
const socketAddress = /^(?:[\d.]{7,15}|\[[\da-f:.]{2,45}\]):\d{1,5}$/

/** What JSON leaves as it is although a terminal or a reader may be fooled by it: C1 controls, line separators, bidi marks. */
const deceptive = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g
const control = /[\u0000-\u001f]/g // oxlint-disable-line no-control-regex
const escaped = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
/** JSON that no terminal or reader of lines is fooled by. */
export const visible = (json: string): string => json.replace(deceptive, escaped)

const shortened = (text: string) =>
  text.length <= maxValueChars ? text : `${text.slice(0, maxValueChars)}… (${text.length} characters)`

/** Text that stands between quotes as it is; most of a log, and a test of it costs less than escaping. */
const harmless = /^[\w .:/\-[\]@%+=,()*]*$/
const quoted = (text: string) => (harmless.test(text) ? `"${text}"` : visible(JSON.stringify(text)))

/** A value as JSON, whatever it was; what is too long becomes text. */
function jsonValue(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return quoted(shortened(value))
    case 'number':
      return Number.isFinite(value) ? `${value}` : 'null'
    case 'boolean':
      return `${value}`
    case 'object':
      return value instanceof Error ? quoted(shortened(value.message)) : jsonOf(value)
    default:
      return quoted(shortened(String(value)))
  }
}

function jsonOf(value: object | null): string {
  try {
    const json = JSON.stringify(value) ?? 'null'
    return json.length <= maxValueChars ? visible(json) : quoted(shortened(json))
  } catch {
    return '"unprintable"' // it refers to itself, or its toJSON fails
  }
}

const plainValue = (value: unknown): string =>
  typeof value === 'string' && socketAddress.test(value) ? value : jsonValue(value)

/** To the millisecond, in the width of ztunnel's microseconds. */
const stamp = (time: Date) => `${time.toISOString().slice(0, -1)}000Z`

/** `time⇥level⇥scope⇥message⇥k=v …` (ztunnel: telemetry.rs). */
export const plainLine: Render = (time, level, scope, message, fields) => {
  let pairs = ''
  for (const key in fields) {
    const value = fields[key]
    if (value !== undefined) pairs += `${pairs === '' ? '' : ' '}${key}=${plainValue(value)}`
  }
  const text = harmless.test(message) ? message : visible(message).replace(control, escaped)
  return `${stamp(time)}\t${level}\t${scope}\t${shortened(text)}\t${pairs}\n`
}

const head = new Set(['level', 'time', 'scope', 'message'])

/** level, time, scope, message, then the fields with their dots (ztunnel: telemetry.rs). */
export const jsonLine: Render = (time, level, scope, message, fields) => {
  let line = `{"level":"${level}","time":"${stamp(time)}","scope":${quoted(scope)},"message":${quoted(shortened(message))}`
  for (const key in fields) {
    const value = fields[key]
    if (value !== undefined && !head.has(key)) line += `,${quoted(key)}:${jsonValue(value)}`
  }
  return `${line}}\n`
}
