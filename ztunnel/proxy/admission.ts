import { MeshError } from '#base'

/** Share of the descriptor limit that connections may take; the rest is for control, logs and listeners. */
const share = 0.9
/** Share of that which one pod may hold, so that a flood of one leaves room for the others. */
const podShare = 0.5

/**
 * Refuses connections by plan before the kernel does it by accident: at EMFILE libuv drops whoever comes, silently.
 * One per process, since all pods share its descriptors.
 */
export class Admission {
  readonly #most: number
  readonly #mostPerPod: number
  readonly #onShed: () => void
  readonly #byPod = new Map<string, number>()
  #taken = 0

  constructor(fileLimit: number, onShed: () => void = () => undefined) {
    this.#most = Math.floor(fileLimit * share)
    this.#mostPerPod = Math.floor(this.#most * podShare)
    this.#onShed = onShed
  }

  /** Takes room for `descriptors` of a pod until it is disposed; undefined, and counted as shed, when there is none. */
  take(descriptors: number, podUid: string): Disposable | undefined {
    const ofPod = (this.#byPod.get(podUid) ?? 0) + descriptors
    if (this.#taken + descriptors > this.#most || ofPod > this.#mostPerPod) {
      this.#onShed()
      return undefined
    }
    this.#taken += descriptors
    this.#byPod.set(podUid, ofPod)
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (held) this.#give(descriptors, podUid)
        held = false
      },
    }
  }

  #give(descriptors: number, podUid: string): void {
    this.#taken -= descriptors
    const left = (this.#byPod.get(podUid) ?? 0) - descriptors
    if (left > 0) this.#byPod.set(podUid, left)
    else this.#byPod.delete(podUid)
  }

  get taken(): number {
    return this.#taken
  }
}

/** What the refused are told. */
export const noRoom = (): MeshError =>
  new MeshError('over-limit', { message: 'too many open connections on this node' })
