import type { KubeObject } from '../rest/object.ts'

/** One committed change. `previous` is what it replaced or removed. */
export type StoreEvent = Readonly<{
  version: number
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  resource: string
  object: KubeObject
  previous: KubeObject | undefined
}>

/** Large objects that change often must not fill the memory: about this much JSON is remembered of a resource. */
const maxLogBytes = 64 * 1024 * 1024

/** The last `capacity` changes of one resource, so that watches can resume. A quiet resource never expires. */
export class EventLog {
  readonly #events: StoreEvent[] = []
  readonly #sizes: number[] = []
  #bytes = 0
  readonly #capacity: number
  /** Changes up to this version are forgotten. */
  #horizon: number
  constructor(capacity: number, horizon: number) {
    this.#capacity = capacity
    this.#horizon = horizon
  }

  /** Remembers a change whose object has about `bytes` of JSON. */
  append(event: StoreEvent, bytes: number): void {
    this.#events.push(event)
    this.#sizes.push(bytes)
    this.#bytes += bytes
    // Trimmed in blocks: shifting one by one would cost O(capacity) for each change.
    const excess = this.#events.length - this.#capacity
    if (excess >= Math.max(1, this.#capacity / 4)) this.#drop(excess)
    if (this.#bytes > maxLogBytes) this.#drop(Math.ceil(this.#events.length / 4))
  }

  #drop(count: number): void {
    const dropped = this.#events.splice(0, count)
    for (const bytes of this.#sizes.splice(0, count)) this.#bytes -= bytes
    this.#horizon = dropped.at(-1)?.version ?? this.#horizon
  }

  /** The changes after `version`, or 'expired' when some of them are forgotten. */
  since(version: number): readonly StoreEvent[] | 'expired' {
    if (version < this.#horizon) return 'expired'
    let low = 0
    let high = this.#events.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#events[middle]?.version ?? 0) <= version) low = middle + 1
      else high = middle
    }
    return this.#events.slice(low)
  }
}
