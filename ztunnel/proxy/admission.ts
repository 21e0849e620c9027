import { MeshError } from '#base'
import { Gauge, type Registry } from '#telemetry'

/** Share of the descriptor limit that connections may take; the rest is for control, logs and listeners. */
const share = 0.9
/** At least this many are left to the rest where the limit is small: libraries, listeners of some pods, the control plane. */
const reserved = 64
/** Share of the connections' part which one pod may hold, so that a flood of one leaves room for the others. */
const podShare = 0.5
/** The kernel gives the lowest free number: a socket numbered so close to the limit says how many are open, of whatever kind. */
const lastDescriptors = 32

/** Pods that are told apart; a power of two, well above the 250 or so that a node runs. */
const slots = 1024
/** Slots looked at for a pod before two pods have to share one. */
const window = 16

/**
 * What the data workers of a process know of each other's connections: the keys of the slots, then a row per worker with
 * its total and its count per slot. A row has one writer, so nothing is locked; two workers may both take the last place.
 */
export type SharedAdmission = Readonly<{ memory: SharedArrayBuffer; workers: number }>

const wordsPerRow = slots + 1

/** The memory that the admissions of `workers` workers share. */
export const shareAdmission = (workers = 1): SharedAdmission => ({
  memory: new SharedArrayBuffer(4 * (slots + workers * wordsPerRow)),
  workers,
})

/** Gives back what a worker that is gone had taken. */
export function forgetWorker({ memory }: SharedAdmission, worker: number): void {
  const row = new Int32Array(memory, 4 * (slots + worker * wordsPerRow), wordsPerRow)
  for (let i = 0; i < row.length; i++) Atomics.store(row, i, 0)
}

/** What the refused are told, and metrics count them by. */
export type ShedReason = 'node' | 'pod' | 'descriptors'

/**
 * Refuses connections by plan before the kernel does it by accident: at EMFILE libuv drops whoever comes, silently.
 * One per worker; all workers and pods of a process share its descriptors.
 */
export class Admission {
  readonly most: number
  readonly #mostPerPod: number
  readonly #highest: number
  readonly #onShed: (reason: ShedReason) => void
  readonly #words: Int32Array
  readonly #workers: number
  readonly #own: number

  constructor(
    fileLimit: number,
    onShed: (reason: ShedReason) => void = () => undefined,
    shared: SharedAdmission = shareAdmission(),
    worker = 0,
  ) {
    this.most = Math.max(0, Math.min(Math.floor(fileLimit * share), fileLimit - reserved))
    this.#mostPerPod = Math.floor(this.most * podShare)
    this.#highest = fileLimit - lastDescriptors
    this.#onShed = onShed
    this.#words = new Int32Array(shared.memory)
    this.#workers = shared.workers
    this.#own = slots + worker * wordsPerRow
  }

  /**
   * Takes room for `descriptors` of a pod until it is disposed; undefined, and counted as shed, when there is none.
   * `fd` is the accepted socket's, where there is one.
   */
  take(descriptors: number, podUid: string, fd = 0): Disposable | undefined {
    const slot = this.#slotOf(podUid)
    const full = this.#full(descriptors, slot, fd)
    if (full) {
      this.#onShed(full)
      return undefined
    }
    this.#add(slot, descriptors)
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (held) this.#add(slot, -descriptors)
        held = false
      },
    }
  }

  #full(descriptors: number, slot: number, fd: number): ShedReason | undefined {
    if (fd >= this.#highest) return 'descriptors'
    if (this.#sum(0) + descriptors > this.most) return 'node'
    return this.#sum(slot + 1) + descriptors > this.#mostPerPod ? 'pod' : undefined
  }

  /** Taken by all workers. */
  get taken(): number {
    return this.#sum(0)
  }

  /** Taken by this worker. */
  get takenHere(): number {
    return Atomics.load(this.#words, this.#own)
  }

  #add(slot: number, descriptors: number): void {
    const words = this.#words
    Atomics.store(words, this.#own, Atomics.load(words, this.#own) + descriptors)
    const at = this.#own + 1 + slot
    Atomics.store(words, at, Atomics.load(words, at) + descriptors)
  }

  #sum(word: number): number {
    let sum = 0
    for (let worker = 0; worker < this.#workers; worker++)
      sum += Atomics.load(this.#words, slots + worker * wordsPerRow + word)
    return sum
  }

  /** The pod's slot, claimed if it has none. A slot is anybody's again when nobody has a connection in it. */
  #slotOf(podUid: string): number {
    const key = keyOf(podUid)
    const first = key & (slots - 1)
    for (let i = 0; i < window; i++) {
      const slot = (first + i) & (slots - 1)
      if (Atomics.load(this.#words, slot) === key) return slot
    }
    for (let i = 0; i < window; i++) {
      const slot = (first + i) & (slots - 1)
      const held = Atomics.load(this.#words, slot)
      if (held !== 0 && this.#sum(slot + 1) > 0) continue
      const before = Atomics.compareExchange(this.#words, slot, held, key)
      if (before === held || before === key) return slot
    }
    return first // crowded out: shares a slot, and so a limit, with another pod
  }
}

/** FNV-1a, never 0, which is the mark of a free slot. */
function keyOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash | 0 || 1
}

/** What the refused are told. */
export const noRoom = (): MeshError =>
  new MeshError('over-limit', { message: 'too many open connections on this node' })

/** How close the node is to refusing; what is refused counts in `lateen_connections_shed_total`. */
export function admissionMetrics(registry: Registry, admission: Admission): void {
  const registers = [registry]
  const taken: Gauge = new Gauge({
    name: 'lateen_connection_descriptors',
    help: 'File descriptors set aside for open connections (unstable)',
    registers,
    collect: () => taken.set(admission.takenHere),
  })
  new Gauge({
    name: 'lateen_connection_descriptors_limit',
    help: 'File descriptors that connections may take before new ones are refused (unstable)',
    registers,
    aggregator: 'max',
  }).set(admission.most)
}
