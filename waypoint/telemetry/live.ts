/** What goes on for long: what has happened of it so far is counted when somebody reads, not only when it is over. */
export class Live {
  readonly #open = new Set<() => void>()

  /** `sample` counts what is new since it was last called; it is called once more at the end. */
  watch(sample: () => void): Disposable {
    this.#open.add(sample)
    return {
      [Symbol.dispose]: () => {
        if (this.#open.delete(sample)) sample()
      },
    }
  }

  sample(): void {
    for (const one of this.#open) one()
  }
}
