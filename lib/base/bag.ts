/** Where something stands in a bag. */
export type Place<T> = { readonly item: T; at: number }

/**
 * A set for things that come and go with each request. V8's own Set and Map leave a chain of former tables behind, which
 * keeps what was in them until the next full collection: requests would outlive themselves by seconds, and each of them
 * would be moved to the old generation first.
 */
export class Bag<T> {
  readonly #places: Place<T>[] = []

  get size(): number {
    return this.#places.length
  }

  add(item: T): Place<T> {
    const place = { item, at: this.#places.length }
    this.#places.push(place)
    return place
  }

  /** Once per place: the last one takes it. */
  delete(place: Place<T>): void {
    const last = this.#places.pop()
    if (last === undefined || last === place) return
    last.at = place.at
    this.#places[place.at] = last
  }

  /** Whatever is in it from the beginning to the end comes, some of it twice where others are taken out meanwhile; what is added does not. */
  *[Symbol.iterator](): Generator<T, void> {
    for (let at = this.#places.length - 1; at >= 0; at = Math.min(at, this.#places.length) - 1) {
      const place = this.#places[at]
      if (place) yield place.item
    }
  }
}
