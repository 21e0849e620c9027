import type { Fields, Level } from './log.ts'

/** One event as one line, with its end. */
export type Render = (time: Date, level: Level, scope: string, message: string, fields: Fields) => string

/** Longest value of a field or message that is printed in full; a stranger's text is no reason for a longer line. */
const maxValueChars = 1_024

/** An IP address with a port: the one kind of text that ztunnel does not quote. */
const socketAddress = /^(?:[\d.]{7,15}|\[[\da-f:.]{2,45}\]):\d{1,5}$/

/** What JSON leaves as it is although a terminal or a reader may be fooled by it: C1 controls, line separators, bidi marks. */
const deceptive = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g
const control = /[\u0000-\u001f]/g // oxlint-disable-line no-control-regex
const escaped = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
const visible = (json: string): string => json.replace(deceptive, escaped)

const shortened = (text: string) =>
  text.length <= maxValueChars ? text : `${text.slice(0, maxValueChars)}… (${text.length} characters)`

/** A value that JSON can print, whatever it was. */
function printable(value: unknown): unknown {
  if (typeof value === 'string') return shortened(value)
  if (value instanceof Error) return shortened(value.message)
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? `${value}` : value
  try {
    const json = JSON.stringify(value) ?? 'undefined'
    return json.length <= maxValueChars ? value : shortened(json)
  } catch {
    return 'unprintable' // it refers to itself, or its toJSON fails
  }
}

function plainValue(value: unknown): string {
  const shown = printable(value)
  if (typeof shown === 'number' || typeof shown === 'boolean') return `${shown}`
  if (typeof shown === 'string' && socketAddress.test(shown)) return shown
  return visible(JSON.stringify(shown) ?? 'undefined')
}

/** To the millisecond, in the width of ztunnel's microseconds. */
const stamp = (time: Date) => time.toISOString().replace('Z', '000Z')

/** `time⇥level⇥scope⇥message⇥k=v …` (ztunnel: telemetry.rs). */
export const plainLine: Render = (time, level, scope, message, fields) => {
  let pairs = ''
  for (const [key, value] of Object.entries(fields))
    if (value !== undefined) pairs += `${pairs === '' ? '' : ' '}${key}=${plainValue(value)}`
  const text = visible(shortened(message)).replace(control, escaped)
  return `${stamp(time)}\t${level}\t${scope}\t${text}\t${pairs}\n`
}

/** level, time, scope, message, then the fields with their dots (ztunnel: telemetry.rs). */
export const jsonLine: Render = (time, level, scope, message, fields) => {
  const line: Record<string, unknown> = { level, time: stamp(time), scope, message: shortened(message) }
  for (const [key, value] of Object.entries(fields))
    if (value !== undefined && !(key in line)) line[key] = printable(value)
  return `${visible(JSON.stringify(line))}\n`
}
