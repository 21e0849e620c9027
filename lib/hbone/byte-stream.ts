import { unsentBudget } from './memory.ts'

/** Who reads and writes a byte stream. */
export type BytesUser = {
  /**
   * Bytes that are valid only during the call. Returns how far they were taken: with less than `end` nothing more comes
   * until `resume()`, and the rest comes again.
   */
  bytes(buffer: Buffer, start: number, end: number): number
  /** The other end sends no more. */
  ended(): void
  /** There is room again after a write that returned false. */
  drained(): void
  /** Nothing more comes or goes; without an error the stream has ended in peace. Called once, last. */
  closed(error: unknown): void
}

/** A connection as parsers use it: no stream machinery, no buffer of the caller's kept. */
export type ByteStream = {
  /** Hands the stream to its one user; what has arrived comes before this returns, if the user takes it. */
  use(user: BytesUser): void
  /** Takes the bytes before it returns. False: they wait for the peer; please wait for `drained`. */
  write(buffer: Buffer, start: number, end: number): boolean
  /** The same for Latin-1 text. */
  text(text: string): boolean
  /** Written bytes that the transport has not taken yet. */
  readonly pending: number
  resume(): void
  /** Sends what was written, and then our end. */
  end(): void
  /** At once, whatever waits. To the peer it is a reset, unless it has got our end. */
  destroy(): void
}

/** Bytes of one stream that may wait for its peer before its writer is told to stop, and when it may go on. */
const highWater = 128 << 10
/** The same where peers leave much of what was said, so that there is room for something of each of ten thousand: one short read. */
const crowdedWater = 2 << 10
const lowWater = 32 << 10

/** Too much waits. */
export const isFull = (waiting: number): boolean =>
  waiting >= highWater || (waiting >= crowdedWater && !unsentBudget.ample)
/** There is room again. */
export const isLow = (waiting: number): boolean =>
  waiting < crowdedWater || (waiting <= lowWater && unsentBudget.ample)

type Flushable = { flush(): void; destroy(): void }

let dirty: Flushable[] = []

/** Flushes at the end of this turn of work: what one call writes in pieces leaves as one. */
export function flushSoon(one: Flushable): void {
  if (dirty.length === 0) queueMicrotask(flushDirty)
  dirty.push(one)
}

function flushDirty(): void {
  const all = dirty
  dirty = []
  for (const one of all) {
    try {
      one.flush()
    } catch {
      // A fault of ours ends this stream and no other.
      one.destroy()
    }
  }
}
