import { Allowances } from './allowances.ts'

/** Reviews under way for everybody. */
const maxReviews = 64
/** Of which one address may have so many: a node proxy has one token, so one is what it needs. */
const maxReviewsPerPeer = 8
/** Requests that wait for a slot; many pods behind one address, after a restart of ours, are served one after the other. */
const maxWaiting = 1_024
const maxWaitingPerPeer = 128
/** Clients of the certificate service give up after ten seconds. */
const maxWaitMs = 5_000
/** Tokens that turned out to be bad, per address: a proxy with a token that has expired tries about once a second. */
const badTokens = { burst: 20, perSecond: 1 }

/** Holds a place; how the review went is told when it is given back. */
type Slot = Readonly<{ giveBack: (wasBad: boolean) => void }>

type Waiter = Readonly<{ peer: string; answer: (slot: Slot | string) => void }>

const tooManyBad = 'too many bad tokens from this address'

/** Who may have a token reviewed now. Strangers with made-up tokens use up their own share, not that of others. */
export class ReviewSlots {
  readonly #bad: Allowances
  readonly #perPeer = new Map<string, number>()
  readonly #waiting = new Set<Waiter>()
  #underWay = 0

  constructor(now: () => number) {
    this.#bad = new Allowances({ ...badTokens, now })
  }

  /** A slot, perhaps after a while, or why there is none. */
  async take(peer: string): Promise<Slot | string> {
    if (!this.#bad.has(peer)) return tooManyBad
    if (this.#isFree(peer)) return this.#slot(peer)
    const ofPeer = [...this.#waiting].filter((waiter) => waiter.peer === peer).length
    if (ofPeer >= maxWaitingPerPeer) return 'too many token reviews at once for this address'
    if (this.#waiting.size >= maxWaiting) return 'too many token reviews at once'
    return new Promise((resolve) => {
      const timer = setTimeout(() => waiter.answer('no token review in time'), maxWaitMs).unref()
      const waiter: Waiter = {
        peer,
        answer: (slot) => {
          clearTimeout(timer)
          this.#waiting.delete(waiter)
          resolve(slot)
        },
      }
      this.#waiting.add(waiter)
    })
  }

  #running = (peer: string): number => this.#perPeer.get(peer) ?? 0

  #isFree(peer: string): boolean {
    return this.#underWay < maxReviews && this.#running(peer) < maxReviewsPerPeer
  }

  #slot(peer: string): Slot {
    this.#underWay++
    this.#perPeer.set(peer, this.#running(peer) + 1)
    return {
      giveBack: (wasBad) => {
        this.#underWay--
        const left = this.#running(peer) - 1
        if (left > 0) this.#perPeer.set(peer, left)
        else this.#perPeer.delete(peer)
        if (wasBad) this.#bad.take(peer)
        this.#next()
      },
    }
  }

  /** The address with the fewest reviews under way goes first; of one address the request that has waited longest. */
  #next(): void {
    let best: Waiter | undefined
    for (const waiter of this.#waiting) {
      if (!this.#bad.has(waiter.peer)) waiter.answer(tooManyBad)
      else if (this.#isFree(waiter.peer) && (!best || this.#running(waiter.peer) < this.#running(best.peer)))
        best = waiter
    }
    best?.answer(this.#slot(best.peer))
  }
}
