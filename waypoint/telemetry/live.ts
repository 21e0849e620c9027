import { Bag } from '#base'

/** What goes on for long: what has happened of it so far is counted when somebody reads, not only when it is over. */
export class Live {
  readonly #open = new Bag<() => void>()

  /** `sample` counts what is new since it was last called; it is called once more at the end. */
  watch(sample: () => void): Disposable {
    const place = this.#open.add(sample)
    let isOver = false
    return {
      [Symbol.dispose]: () => {
        if (isOver) return
        isOver = true
        this.#open.delete(place)
        sample()
      },
    }
  }

  sample(): void {
    for (const one of this.#open) one()
  }
}
