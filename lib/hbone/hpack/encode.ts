import type { Field } from './decode.ts'
import { staticTable } from './static-table.ts'

const nameIndex = new Map<string, number>()
const fieldIndex = new Map<string, number>()
for (const [at, [name, value]] of staticTable.entries()) {
  if (!nameIndex.has(name)) nameIndex.set(name, at + 1)
  if (value !== '') fieldIndex.set(`${name}\0${value}`, at + 1)
}

/** A header block that leaves the peer's dynamic table alone, so it needs no state and blocks may be lost. */
export function hpackEncode(fields: readonly Field[]): Buffer {
  const out: number[] = []
  for (const [name, value] of fields) {
    const whole = fieldIndex.get(`${name}\0${value}`)
    if (whole !== undefined) {
      integer(out, 0x80, 7, whole)
      continue
    }
    const index = nameIndex.get(name) ?? 0
    integer(out, 0, 4, index)
    if (index === 0) string(out, name)
    string(out, value)
  }
  return Buffer.from(out)
}

function integer(out: number[], flags: number, prefixBits: number, value: number): void {
  const mask = 2 ** prefixBits - 1
  if (value < mask) {
    out.push(flags | value)
    return
  }
  out.push(flags | mask)
  let rest = value - mask
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) out.push((rest & 0x7f) | 0x80)
  out.push(rest)
}

function string(out: number[], text: string): void {
  const bytes = Buffer.from(text, 'latin1')
  integer(out, 0, 7, bytes.length)
  for (const byte of bytes) out.push(byte)
}
