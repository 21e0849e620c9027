import { readdirSync, readFileSync } from 'node:fs'

/** Numbers below `n`, the same for the same seed. */
export type Random = (n: number) => number

/** mulberry32: small, and good enough to break things with. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = state
    x = Math.imul(x ^ (x >>> 15), x | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) % n
  }
}

/** The sequences of a folder of test/corpus: one per line in hex, `#` begins a comment. */
export function corpus(folder: string, file?: string): Buffer[] {
  const at = new URL(`../corpus/${folder}/`, import.meta.url)
  const names = file === undefined ? readdirSync(at) : [file]
  return names
    .toSorted()
    .flatMap((name) => readFileSync(new URL(name, at), 'utf8').split('\n'))
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
    .map((line) => Buffer.from(line, 'hex'))
}

const oddBytes = [0, 1, 0x0f, 0x10, 0x1f, 0x20, 0x3f, 0x40, 0x7e, 0x7f, 0x80, 0x81, 0xbe, 0xc0, 0xfe, 0xff]
const oddWords = [
  0, 1, 2, 3, 0x3fff, 0x4000, 0x4001, 0xffff, 0x1_0000, 0xff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
]
const pick = <T>(random: Random, from: readonly T[]): T => {
  const one = from[random(from.length)]
  if (one === undefined) throw new RangeError('nothing to pick from')
  return one
}

type Mutation = (bytes: Buffer, random: Random, others: readonly Buffer[]) => Buffer

const cutAt = (bytes: Buffer, at: number, remove: number, insert: Buffer) =>
  Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)])

/** Mutations that know nothing of frames. */
export const blind: readonly Mutation[] = [
  (bytes, random) => {
    const out = Buffer.from(bytes)
    const at = random(out.length)
    out[at] = (out[at] ?? 0) ^ (1 << random(8))
    return out
  },
  (bytes, random) => {
    const out = Buffer.from(bytes)
    out[random(out.length)] = random(2) === 0 ? random(256) : pick(random, oddBytes)
    return out
  },
  (bytes, random) => {
    const out = Buffer.from(bytes)
    if (out.length >= 4) out.writeUInt32BE(pick(random, oddWords), random(out.length - 3))
    return out
  },
  (bytes, random) => cutAt(bytes, random(bytes.length), 1 + random(8), Buffer.alloc(0)),
  (bytes, random) =>
    cutAt(bytes, random(bytes.length), 0, Buffer.alloc(1 + random(8), pick(random, oddBytes))),
  (bytes, random) => bytes.subarray(0, 1 + random(bytes.length)),
  (bytes, random) => {
    const from = random(bytes.length)
    return cutAt(bytes, random(bytes.length), 0, bytes.subarray(from, from + 1 + random(40)))
  },
  (bytes, random, others) => {
    const other = pick(random, others)
    return Buffer.concat([bytes.subarray(0, 1 + random(bytes.length)), other.subarray(random(other.length))])
  },
]

/** Where the frames of a sequence begin, as far as their lengths make sense. */
function beginnings(bytes: Buffer): number[] {
  const at: number[] = []
  for (let i = 0; i + 9 <= bytes.length; i += 9 + bytes.readUIntBE(i, 3)) at.push(i)
  return at
}
const frameAt = (bytes: Buffer, at: number) => bytes.subarray(at, at + 9 + bytes.readUIntBE(at, 3))

/** Changes the header of one frame, or moves whole frames about. */
const framewise: readonly ((frames: Buffer[], random: Random) => Buffer[])[] = [
  (frames, random) => {
    const one = Buffer.from(pick(random, frames))
    one[3] = random(12)
    return frames.map((frame, i) => (i === random(frames.length) ? one : frame))
  },
  (frames, random) => {
    const i = random(frames.length)
    const one = Buffer.from(frames[i] ?? Buffer.alloc(9))
    one[4] = random(256)
    return frames.with(i, one)
  },
  (frames, random) => {
    const i = random(frames.length)
    const one = Buffer.from(frames[i] ?? Buffer.alloc(9))
    one.writeUInt32BE(random(3) === 0 ? pick(random, oddWords) : random(12), 5)
    return frames.with(i, one)
  },
  (frames, random) => {
    const i = random(frames.length)
    const one = Buffer.from(frames[i] ?? Buffer.alloc(9))
    one.writeUIntBE(random(2) === 0 ? random(40) : pick(random, oddWords) & 0xff_ffff, 0, 3)
    return frames.with(i, one)
  },
  (frames, random) => frames.toSpliced(random(frames.length), 0, pick(random, frames)),
  (frames, random) => frames.toSpliced(random(frames.length), 1),
  (frames, random) => {
    const [i, j] = [random(frames.length), random(frames.length)]
    const [a, b] = [frames[i], frames[j]]
    return a && b ? frames.with(i, b).with(j, a) : frames
  },
  (frames, random) => {
    const one = pick(random, frames)
    return frames.toSpliced(random(frames.length), 0, ...Array.from({ length: 2 + random(30) }, () => one))
  },
]
const byFrame: Mutation = (bytes, random) => {
  const at = beginnings(bytes)
  if (at.length === 0) return bytes
  return Buffer.concat(
    pick(random, framewise)(
      at.map((i) => frameAt(bytes, i)),
      random,
    ),
  )
}
const byFrames: Mutation = (bytes, random, others) => {
  const other = pick(random, others)
  const at = beginnings(other)
  return at.length === 0 ? bytes : Buffer.concat([bytes, frameAt(other, pick(random, at))])
}

export const frameMutations: readonly Mutation[] = [
  ...blind,
  byFrame,
  byFrame,
  byFrame,
  byFrame,
  byFrames,
  byFrames,
]

/** Up to six mutations one after the other; never empty, never longer than `max`. */
export function mutate(
  seed: Buffer,
  mutations: readonly Mutation[],
  random: Random,
  others: readonly Buffer[],
  max: number,
): Buffer {
  let bytes = seed
  for (let n = 1 + random(6); n > 0; n--) {
    const next = pick(random, mutations)(bytes, random, others)
    if (next.length > 0) bytes = next
  }
  return bytes.subarray(0, max)
}

/** Keeps what behaves as nothing before it did, so that mutation goes on from there. */
export class Finds {
  readonly seeds: Buffer[]
  readonly #seen = new Set<string>()
  readonly #max: number
  constructor(seeds: readonly Buffer[], max: number) {
    this.seeds = [...seeds]
    this.#max = max
  }
  get size(): number {
    return this.#seen.size
  }
  /** True for a behaviour that is new. */
  note(input: Buffer, behaviour: string): boolean {
    if (this.#seen.has(behaviour)) return false
    this.#seen.add(behaviour)
    if (this.seeds.length < this.#max) this.seeds.push(Buffer.from(input))
    return true
  }
}
