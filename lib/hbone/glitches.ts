import type { HboneLimits } from './limits.ts'

type Counted = Pick<
  HboneLimits,
  'maxControlFrames' | 'controlWindowMs' | 'maxUnansweredResets' | 'maxGlitches'
>

/** WINDOW_UPDATE frames that a peer may save up by receiving DATA. */
const maxCredit = 4096
/** One update for the stream and one for the connection answer a DATA frame. */
const updatesPerFrame = 2

/** The account of what a peer does that costs us work and moves no bytes. Each method says whether it may go on. */
export class Glitches {
  readonly #limits: Counted
  readonly #now: () => number
  #windowStart: number
  #controlFrames = 0
  #unansweredResets = 0
  #glitches = 0
  #windowCredit = 0

  constructor(limits: Counted, now: () => number) {
    this.#limits = limits
    this.#now = now
    this.#windowStart = now()
  }

  #roll(): void {
    const now = this.#now()
    if (now - this.#windowStart < this.#limits.controlWindowMs) return
    this.#windowStart = now
    this.#controlFrames = 0
    this.#unansweredResets = 0
  }

  /** A frame that asks for an answer or is thrown away. */
  control(): boolean {
    this.#roll()
    return ++this.#controlFrames <= this.#limits.maxControlFrames
  }

  /** A WINDOW_UPDATE: free while it can stem from DATA that we sent, else a control frame. */
  windowUpdate(): boolean {
    if (this.#windowCredit === 0) return this.control()
    this.#windowCredit--
    return true
  }

  sentData(): void {
    this.#windowCredit = Math.min(maxCredit, this.#windowCredit + updatesPerFrame)
  }

  unansweredReset(): boolean {
    this.#roll()
    return ++this.#unansweredResets < this.#limits.maxUnansweredResets
  }

  glitch(): boolean {
    return ++this.#glitches < this.#limits.maxGlitches
  }
}
