/**
 * What of an AbortSignal its users need: whether something is over, why, and to be told once when it is. Every AbortSignal
 * is one.
 */
export type EndSignal = Readonly<{
  aborted: boolean
  reason: unknown
  addEventListener(type: 'abort', listener: () => void, options?: Readonly<{ once: boolean }>): void
  removeEventListener(type: 'abort', listener: () => void): void
}>

/**
 * An AbortController and its signal in one object, for what begins and ends ten thousand times a second: an EventTarget, a
 * listener on it and its removal cost a request more than reading its head. Listeners are told once, in the order in which
 * they came, and must not throw.
 */
export class Ending implements EndSignal {
  #aborted = false
  #reason: unknown
  #first: (() => void) | undefined
  /** There are more than one for a moment only. */
  #others: Set<() => void> | undefined

  get aborted(): boolean {
    return this.#aborted
  }
  get reason(): unknown {
    return this.#reason
  }

  abort(reason: unknown): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#reason = reason
    const first = this.#first
    this.#first = undefined
    first?.()
    if (this.#others === undefined) return
    // Who is taken off by one of those before is not told.
    for (const listener of this.#others) listener()
    this.#others = undefined
  }

  /** Not told where it is over already, as with an AbortSignal. */
  addEventListener(_type: 'abort', listener: () => void): void {
    if (this.#aborted || this.#first === listener) return
    if (this.#first === undefined && this.#others === undefined) this.#first = listener
    else (this.#others ??= new Set()).add(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    if (this.#first === listener) this.#first = undefined
    else this.#others?.delete(listener)
  }
}
