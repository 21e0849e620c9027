import { MeshError } from '#base'
import type { ByteStream, BytesUser } from '#hbone'

/** Bytes that a finished relay has moved; `error` is what ended it early, if anything did. */
export type Relayed = Readonly<{ sent: number; received: number; error?: unknown }>

/**
 * Copies bytes between a client and an upstream until both directions are done or `signal` fires; never rejects. Each
 * direction ends on its own (half-close), and a reader that is slow stops the writer on the other side.
 */
export function relay(
  client: ByteStream,
  upstream: ByteStream,
  signal: AbortSignal,
  moved: Moved = { sent: 0, received: 0 },
): Promise<Relayed> {
  return new Promise((resolve) => {
    const settle = (error: unknown) => {
      signal.removeEventListener('abort', onAbort)
      resolve(error === undefined ? { ...moved } : { ...moved, error })
    }
    const pair = new Pair(client, upstream, moved, settle)
    const onAbort = () => pair.fail(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    client.use(pair.fromClient)
    upstream.use(pair.fromUpstream)
  })
}

/** Counted while they move: what the client has sent, and what it has got. */
export type Moved = { sent: number; received: number }

type Way = { ended: boolean; closed: boolean }

class Pair {
  readonly #streams: readonly [client: ByteStream, upstream: ByteStream]
  readonly #moved: Moved
  readonly #settle: (error: unknown) => void
  readonly #ways: readonly [Way, Way] = [
    { ended: false, closed: false },
    { ended: false, closed: false },
  ]
  #over = false
  readonly fromClient: BytesUser
  readonly fromUpstream: BytesUser

  constructor(client: ByteStream, upstream: ByteStream, moved: Moved, settle: (error: unknown) => void) {
    this.#streams = [client, upstream]
    this.#moved = moved
    this.#settle = settle
    this.fromClient = this.#user(0)
    this.fromUpstream = this.#user(1)
  }

  #user(side: 0 | 1): BytesUser {
    const [other, way] = [this.#streams[side === 0 ? 1 : 0], this.#ways[side]]
    // The writer has said that it is full: what has been given to it is taken, the next piece waits.
    let full = false
    return {
      bytes: (buffer, start, end) => {
        if (this.#over) return end
        if (full) return start
        if (side === 0) this.#moved.sent += end - start
        else this.#moved.received += end - start
        full = !other.write(buffer, start, end)
        this.#resumers[side] = () => {
          full = false
          this.#streams[side].resume()
        }
        return end
      },
      ended: () => {
        way.ended = true
        other.end()
      },
      drained: () => this.#resumers[side === 0 ? 1 : 0]?.(),
      closed: (error) => {
        way.closed = true
        // A stream that is gone before its end is broken, whatever its peer called it.
        const early = way.ended
          ? undefined
          : new MeshError('connect-failed', { message: 'connection closed early' })
        if (error !== undefined || early !== undefined) this.fail(error ?? early)
        else if (this.#ways.every(({ closed }) => closed)) this.#finish(undefined)
      },
    }
  }
  readonly #resumers: [(() => void) | undefined, (() => void) | undefined] = [undefined, undefined]

  fail(reason: unknown): void {
    if (this.#over) return
    this.#finish(reason ?? new MeshError('connect-failed', { message: 'relay ended' }))
    for (const stream of this.#streams) stream.destroy()
  }

  #finish(error: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#settle(error)
  }
}
