import { MeshError } from '#base'

/** Share of the descriptor limit that connections may take; the rest is for control, logs and listeners. */
const share = 0.9

/**
 * Refuses connections by plan before the kernel does it by accident: at EMFILE libuv drops whoever comes, silently.
 * One per process, since all pods share its descriptors.
 */
export class Admission {
  readonly #most: number
  readonly #onShed: () => void
  #taken = 0

  constructor(fileLimit: number, onShed: () => void = () => undefined) {
    this.#most = Math.floor(fileLimit * share)
    this.#onShed = onShed
  }

  /** Takes room for `descriptors` until it is disposed; undefined, and counted as shed, when there is none. */
  take(descriptors: number): Disposable | undefined {
    if (this.#taken + descriptors > this.#most) {
      this.#onShed()
      return undefined
    }
    this.#taken += descriptors
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (held) this.#taken -= descriptors
        held = false
      },
    }
  }

  get taken(): number {
    return this.#taken
  }
}

/** What the refused are told. */
export const noRoom = (): MeshError =>
  new MeshError('over-limit', { message: 'too many open connections on this node' })
