import { Allowances } from './allowances.ts'

/** Reviews under way for everybody; more are refused, to be tried again. */
const maxReviews = 64
/** Of which one address may have so many: a node proxy has one token, so one is what it needs. */
const maxReviewsPerPeer = 8
/** Tokens that turned out to be bad, per address: a proxy with a token that has expired tries about once a second. */
const badTokens = { burst: 20, perSecond: 1 }

/** Holds a place; how the review went is told when it is given back. */
export type Slot = Readonly<{ giveBack: (wasBad: boolean) => void }>

/** Who may have a token reviewed now. Strangers with made-up tokens use up their own share, not that of others. */
export class ReviewSlots {
  readonly #bad: Allowances
  readonly #perPeer = new Map<string, number>()
  #underWay = 0

  constructor(now: () => number) {
    this.#bad = new Allowances({ ...badTokens, now })
  }

  /** A slot, or why there is none. */
  take(peer: string): Slot | string {
    const ofPeer = this.#perPeer.get(peer) ?? 0
    if (!this.#bad.has(peer)) return 'too many bad tokens from this address'
    if (ofPeer >= maxReviewsPerPeer) return 'too many token reviews at once for this address'
    if (this.#underWay >= maxReviews) return 'too many token reviews at once'
    this.#underWay++
    this.#perPeer.set(peer, ofPeer + 1)
    return {
      giveBack: (wasBad) => {
        this.#underWay--
        const left = (this.#perPeer.get(peer) ?? 1) - 1
        if (left > 0) this.#perPeer.set(peer, left)
        else this.#perPeer.delete(peer)
        if (wasBad) this.#bad.take(peer)
      },
    }
  }
}
