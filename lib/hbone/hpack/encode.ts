import type { Field } from './decode.ts'
import { staticTable } from './static-table.ts'

type Known = { readonly index: number; readonly values: Map<string, number> }

/** Where a name stands in the static table, and its values there. */
const known = new Map<string, Known>()
for (const [at, [name, value]] of staticTable.entries()) {
  const entry = known.get(name) ?? { index: at + 1, values: new Map<string, number>() }
  known.set(name, entry)
  if (value !== '') entry.values.set(value, at + 1)
}

/** Blocks are written here and copied out; it grows to the largest that was ever asked for. */
let scratch = Buffer.allocUnsafeSlow(4 << 10)
/** What a field takes at most beside its text: two lengths and an index. */
const overhead = 18
/** Up to here a loop is faster than a call into the runtime. */
const shortText = 24

/** A header block that leaves the peer's dynamic table alone, so it needs no state and blocks may be lost. */
export function hpackEncode(fields: readonly Field[]): Buffer {
  let at = 0
  for (const [name, value] of fields) {
    const most = at + name.length + value.length + overhead
    if (most > scratch.length) grow(most)
    const entry = known.get(name)
    const whole = entry?.values.get(value)
    if (whole !== undefined) {
      at = integer(at, 0x80, 7, whole)
      continue
    }
    at = integer(at, 0, 4, entry?.index ?? 0)
    if (entry === undefined) at = string(at, name)
    at = string(at, value)
  }
  return Buffer.from(scratch.subarray(0, at))
}

function grow(atLeast: number): void {
  const larger = Buffer.allocUnsafeSlow(2 * atLeast)
  scratch.copy(larger)
  scratch = larger
}

function integer(start: number, flags: number, prefixBits: number, value: number): number {
  let at = start
  const mask = 2 ** prefixBits - 1
  if (value < mask) {
    scratch[at++] = flags | value
    return at
  }
  scratch[at++] = flags | mask
  let rest = value - mask
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) scratch[at++] = (rest & 0x7f) | 0x80
  scratch[at++] = rest
  return at
}

function string(start: number, text: string): number {
  const at = integer(start, 0, 7, text.length)
  if (text.length > shortText) return at + scratch.write(text, at, 'latin1')
  for (let i = 0; i < text.length; i++) scratch[at + i] = text.charCodeAt(i)
  return at + text.length
}
