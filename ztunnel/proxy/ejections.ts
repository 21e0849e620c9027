import type { WorkloadUid } from '../state/index.ts'

/** How long an endpoint that could not be reached is passed over; the control plane removes it if it is gone. */
const ejectionMs = 10_000
/** A whole node of pods, for each of ours; what is over it would only be tried in vain. The oldest gives way. */
const maxEjected = 256

/**
 * Endpoints that could not be dialled a moment ago. They are chosen only where there is nobody else, so a wrong memory
 * never makes a service unreachable.
 */
export class Ejections {
  readonly #until = new Map<WorkloadUid, number>()
  readonly #current = new Set<WorkloadUid>()
  readonly #now: () => number

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** The ones of now; valid until the next call. */
  current(): ReadonlySet<WorkloadUid> {
    if (this.#until.size === 0) return this.#current
    const now = this.#now()
    for (const [uid, until] of this.#until) {
      if (until > now) break // in the order of their ends
      this.#drop(uid)
    }
    return this.#current
  }

  eject(uid: WorkloadUid): void {
    this.#drop(uid)
    this.#until.set(uid, this.#now() + ejectionMs)
    this.#current.add(uid)
    const [oldest] = this.#until.size > maxEjected ? this.#until.keys() : []
    if (oldest !== undefined) this.#drop(oldest)
  }

  /** It answers again. */
  restore(uid: WorkloadUid): void {
    if (this.#until.size > 0) this.#drop(uid)
  }

  #drop(uid: WorkloadUid): void {
    this.#until.delete(uid)
    this.#current.delete(uid)
  }
}
