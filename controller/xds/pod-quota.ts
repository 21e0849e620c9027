/** One is what a client needs, two while it reconnects. */
const maxStreamsPerPod = 8

/** How many streams each pod has, and whether it reads them. */
export class PodQuota {
  readonly #open = new Map<string, number>()
  readonly #stuck = new Set<string>()

  /** Undefined: counted. Otherwise why not. */
  enter(pod: string): string | undefined {
    if (this.#stuck.has(pod)) return 'this pod has a stream that it does not read'
    const open = (this.#open.get(pod) ?? 0) + 1
    if (open > maxStreamsPerPod) return 'too many streams of one pod'
    this.#open.set(pod, open)
    return undefined
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
