import type { Fault } from './field-lines.ts'

/** Longest head whose fields a connection keeps: what most are, and little beside what else a connection costs. */
const maxKeptHead = 2 << 10

/**
 * What the last fields of a connection said. Peers repeat themselves, but for the first line of a head: the same text says
 * the same. Nothing is shared with other connections, and faults are not kept; who gets fields must not change them.
 */
export class LastFields<Fields extends object> {
  readonly #read: (text: string, from: number) => Fields | Fault
  #text = ''
  #fields: Fields | undefined

  /** `read` depends on nothing but the text from `from` on. */
  constructor(read: (text: string, from: number) => Fields | Fault) {
    this.#read = read
  }

  /** What the fields in `text` from `from` on say. */
  of(text: string, from: number): Fields | Fault {
    const own = text.slice(from)
    if (this.#fields !== undefined && own === this.#text) return this.#fields
    const fields = this.#read(text, from)
    const kept = 'reason' in fields || text.length > maxKeptHead ? undefined : fields
    this.#fields = kept
    this.#text = kept === undefined ? '' : own
    return fields
  }
}
