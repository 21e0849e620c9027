import { huffmanDecode } from './huffman.ts'
import { staticTable } from './static-table.ts'

/** A header field as it was sent. */
export type Field = readonly [name: string, value: string]
export type Decoded =
  /** `bytes` counts 32 for every field beside its text. */
  | { kind: 'fields'; fields: readonly Field[]; bytes: number }
  /** Well-formed, but more than the limits allow; the dynamic table is still in step with the peer. */
  | { kind: 'too-large' }
  | { kind: 'malformed'; reason: string }

/** A block may decode to so much in any case, which is twice the table, and beyond it to so many times its length. */
const freeBytes = 8192
const maxAmplification = 16
/** What every field costs beside its bytes (RFC 7541 §4.1). */
const fieldOverhead = 32
/** The size of the dynamic table that we leave to the peer, the default of SETTINGS_HEADER_TABLE_SIZE. */
const tableBytes = 4096

class Malformed extends Error {}

/** Decodes the header blocks of one direction of one connection, in order. */
export class HpackDecoder {
  /** Newest first. At most 4096 / 32 entries, so moving them is cheap. */
  readonly #table: Field[] = []
  #size = 0
  readonly #maxCapacity: number
  #capacity: number
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0

  /** `capacity` is the table size that the peer was told. */
  constructor(capacity = tableBytes) {
    this.#maxCapacity = capacity
    this.#capacity = capacity
  }

  decode(block: Buffer, maxBytes: number, maxFields: number): Decoded {
    this.#bytes = block
    this.#at = 0
    try {
      return this.#fields(maxBytes, maxFields)
    } catch (error) {
      if (error instanceof Malformed) return { kind: 'malformed', reason: error.message }
      throw error
    }
  }

  #fields(maxBytes: number, maxFields: number): Decoded {
    const fields: Field[] = []
    const most = Math.min(maxBytes, Math.max(freeBytes, maxAmplification * this.#bytes.length))
    let total = 0
    let count = 0
    while (this.#at < this.#bytes.length) {
      const field = this.#next(count === 0)
      if (field === undefined) continue
      total += field[0].length + field[1].length + fieldOverhead
      count++
      // Decoding goes on without keeping anything: the table must stay in step.
      if (total <= most && count <= maxFields) fields.push(field)
    }
    return total <= most && count <= maxFields
      ? { kind: 'fields', fields, bytes: total }
      : { kind: 'too-large' }
  }

  /** One representation (RFC 7541 §6); undefined for a change of the table's size. */
  #next(atStart: boolean): Field | undefined {
    const first = this.#bytes[this.#at] ?? 0
    if (first >= 0x80) return this.#entry(this.#integer(7))
    if (first >= 0x40) return this.#insert(this.#literal(6))
    if (first < 0x20) return this.#literal(4)
    if (!atStart) throw new Malformed('table size update after a field')
    const size = this.#integer(5)
    if (size > this.#maxCapacity) throw new Malformed('table size above the agreed one')
    this.#capacity = size
    this.#evict()
    return undefined
  }

  #literal(prefixBits: number): Field {
    const index = this.#integer(prefixBits)
    const name = index === 0 ? this.#string() : this.#entry(index)[0]
    return [name, this.#string()]
  }

  #entry(index: number): Field {
    const field =
      index <= staticTable.length ? staticTable[index - 1] : this.#table[index - staticTable.length - 1]
    if (field === undefined) throw new Malformed('index outside of the tables')
    return field
  }

  #insert(field: Field): Field {
    this.#table.unshift(field)
    this.#size += field[0].length + field[1].length + fieldOverhead
    this.#evict()
    return field
  }

  #evict(): void {
    while (this.#size > this.#capacity) {
      const [name, value] = this.#table.pop() ?? ['', '']
      this.#size -= name.length + value.length + fieldOverhead
    }
  }

  #integer(prefixBits: number): number {
    const mask = 2 ** prefixBits - 1
    const prefix = this.#byte() & mask
    if (prefix < mask) return prefix
    let value = mask
    // Four more bytes say more than any size or index that we accept.
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#byte()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new Malformed('integer too long')
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++]
    if (byte === undefined) throw new Malformed('block cut short')
    return byte
  }

  #string(): string {
    const huffman = (this.#bytes[this.#at] ?? 0) >= 0x80
    const length = this.#integer(7)
    const end = this.#at + length
    if (end > this.#bytes.length) throw new Malformed('string beyond the block')
    const start = this.#at
    this.#at = end
    const text = huffman ? huffmanDecode(this.#bytes, start, end) : this.#bytes.toString('latin1', start, end)
    if (text === undefined) throw new Malformed('wrong Huffman code')
    return text
  }
}
