import type { Stream } from './stream.ts'

/** Two places at least for each stream; a power of two. */
const firstPlaces = 16
const empty = (length: number): (Stream | undefined)[] => Array.from({ length })

/**
 * Streams by number. Not a Map: streams come and go with each request, and the chain of former tables that V8's Map leaves
 * behind keeps what was in them until the next full collection. Numbers of one side go up by two, so their halves are
 * places that hardly ever collide; where they do, the next free place is taken.
 */
export class StreamMap {
  #places = empty(firstPlaces)
  #size = 0

  get size(): number {
    return this.#size
  }

  get(id: number): Stream | undefined {
    return this.#places[this.#placeOf(id)]
  }

  /** A stream whose number is not in it. */
  add(stream: Stream): void {
    if (++this.#size * 2 > this.#places.length) this.#grow()
    this.#places[this.#placeOf(stream.id)] = stream
  }

  delete({ id }: Stream): void {
    const places = this.#places
    const mask = places.length - 1
    let hole = this.#placeOf(id)
    if (places[hole] === undefined) return
    this.#size--
    // Whoever stands behind the hole because of who was in it moves up.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const next = places[at]
      if (next === undefined) break
      const from = (next.id >>> 1) & mask
      if (((at - from) & mask) < ((at - hole) & mask)) continue
      places[hole] = next
      hole = at
    }
    places[hole] = undefined
  }

  /** Those of now, whatever becomes of them while they are looked at. */
  values(): readonly Stream[] {
    return this.#places.filter((stream) => stream !== undefined)
  }

  /** Where a stream is, or would be. */
  #placeOf(id: number): number {
    const places = this.#places
    const mask = places.length - 1
    let at = (id >>> 1) & mask
    for (let found = places[at]; found !== undefined && found.id !== id; found = places[at])
      at = (at + 1) & mask
    return at
  }

  #grow(): void {
    const before = this.values()
    this.#places = empty(2 * this.#places.length)
    for (const stream of before) this.#places[this.#placeOf(stream.id)] = stream
  }
}
