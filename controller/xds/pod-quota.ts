import { Allowance } from './allowance.ts'

/** One is what a client needs, two while it reconnects. */
const maxStreamsPerPod = 8

/** A stream begins with the whole mesh, so that opening them in a loop would cost us all of it each time. */
const openings = { burst: 30, perSecond: 1 } as const
/** Pods whose openings are remembered; of those beyond, the ones that have been quiet are forgotten. */
const maxRemembered = 10_000

/** How many streams each pod has, how fast it opens them, and whether it reads them. */
export class PodQuota {
  readonly #open = new Map<string, number>()
  readonly #stuck = new Set<string>()
  readonly #openings = new Map<string, Allowance>()
  readonly #now: () => number

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Undefined: counted. Otherwise why not. */
  enter(pod: string): string | undefined {
    if (this.#stuck.has(pod)) return 'this pod has a stream that it does not read'
    const open = (this.#open.get(pod) ?? 0) + 1
    if (open > maxStreamsPerPod) return 'too many streams of one pod'
    if (!this.#openingsOf(pod).take()) return 'this pod opens streams too fast'
    this.#open.set(pod, open)
    return undefined
  }

  /** Pods whose openings count. */
  get remembered(): number {
    return this.#openings.size
  }

  #openingsOf(pod: string): Allowance {
    const known = this.#openings.get(pod)
    if (known) return known
    if (this.#openings.size >= maxRemembered)
      for (const [each, allowance] of this.#openings) if (allowance.isFull) this.#openings.delete(each)
    const allowance = new Allowance(openings, this.#now)
    this.#openings.set(pod, allowance)
    return allowance
  }

  /** A stream of it was ended, but the transport holds what was sent until it reads. No more until that is gone. */
  stick(pod: string): void {
    this.#stuck.add(pod)
  }

  leave(pod: string): void {
    this.#stuck.delete(pod)
    const left = (this.#open.get(pod) ?? 1) - 1
    if (left > 0) this.#open.set(pod, left)
    else this.#open.delete(pod)
  }
}
