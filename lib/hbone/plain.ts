import type { Socket } from 'node:net'
import { breakOff } from './break-off.ts'
import { isHangUp } from './h2-error.ts'
import { readBytes, releaseSlab, takeSlab } from './memory.ts'
import { readInto } from './read-into.ts'
import type { Transferred } from './tunnel.ts'

/** Small reads of all sockets land here and are copied; a socket in bulk reads into slabs of its own. */
const landing = Buffer.allocUnsafeSlow(readBytes)
/** A read of this size makes its socket a bulk one. */
const bulkBytes = 64 << 10
/** Slabs in the hands of bulk sockets: 32 MiB. Others go on with the landing buffer. */
const maxBulkSlabs = 128
let bulkSlabs = 0

/** Copies between two TCP connections: `toApp` counts a → b, `fromApp` b → a. Half-closes are kept; never rejects. */
export function forwardSockets(a: Socket, b: Socket, signal: AbortSignal): Promise<Transferred> {
  return new Promise((resolve) => {
    let error: unknown
    let open = 2
    const directions = [new OneWay(a, b), new OneWay(b, a)] as const
    const finish = () => {
      signal.removeEventListener('abort', onAbort)
      const moved = { toApp: directions[0].bytes, fromApp: directions[1].bytes }
      resolve(error === undefined ? moved : { ...moved, error })
    }
    const onAbort = () => {
      if (signal.aborted) error ??= signal.reason
      // Neither side has said its end, so neither may hear one.
      breakOff(a)
      breakOff(b)
    }
    for (const [socket, other] of [
      [a, b],
      [b, a],
    ] as const) {
      socket.setNoDelay(true)
      socket.on('error', (cause) => {
        if (!isHangUp(cause)) error ??= cause
        // A connection that broke takes the other with it, as hard as it broke.
        breakOff(other)
      })
      socket.on('close', () => {
        if (!other.writableFinished && !other.destroyed) other.destroySoon()
        if (--open === 0) finish()
      })
    }
    if (signal.aborted || a.destroyed || b.destroyed) {
      onAbort()
      if (a.closed && b.closed) finish()
      return
    }
    signal.addEventListener('abort', onAbort, { once: true })
    for (const direction of directions) direction.start()
  })
}

/** One direction: at most one write under way, and no read meanwhile. */
class OneWay {
  readonly #from: Socket
  readonly #to: Socket
  /** The slab that the next read goes to, for a bulk socket. */
  #slab: Buffer | undefined
  bytes = 0

  constructor(from: Socket, to: Socket) {
    this.#from = from
    this.#to = to
  }

  start(): void {
    this.#from.on('end', () => this.#to.end())
    this.#from.on('close', () => {
      if (this.#slab) this.#giveBack(this.#slab)
      this.#slab = undefined
    })
    readInto(
      this.#from,
      landing,
      (n, buffer) => this.#onRead(n, buffer),
      () => this.#slab ?? landing,
    )
    // A side that had ended before we looked at it says so no more.
    if (this.#from.readableEnded) this.#to.end()
  }

  #onRead(n: number, buffer: Buffer): boolean {
    this.bytes += n
    const own = buffer === this.#slab ? buffer : undefined
    this.#slab = n >= bulkBytes && bulkSlabs < maxBulkSlabs ? this.#takeBulk() : undefined
    const bytes = own?.subarray(0, n) ?? Buffer.from(buffer.subarray(0, n))
    let paused = false
    this.#to.write(bytes, () => {
      if (own) this.#giveBack(own)
      if (paused) this.#from.resume()
    })
    // Nothing waits when the kernel took all of it, which is known before the callback comes.
    paused = this.#to.writableLength > 0
    return !paused
  }

  #takeBulk(): Buffer {
    bulkSlabs++
    return takeSlab()
  }

  #giveBack(slab: Buffer): void {
    bulkSlabs--
    releaseSlab(slab)
  }
}
