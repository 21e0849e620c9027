import type { Duplex } from 'node:stream'
import { MeshError } from '#base'

/** Bytes that a finished relay has moved; `error` is what ended it early, if anything did. */
export type Relayed = Readonly<{ sent: number; received: number; error?: unknown }>

/**
 * Copies bytes between a client and an upstream until both directions are done or `signal` fires; never rejects. Each
 * direction ends on its own (half-close), and a reader that is slow stops the writer on the other side.
 */
export function relay(client: Duplex, upstream: Duplex, signal: AbortSignal): Promise<Relayed> {
  return new Promise((resolve) => {
    const moved = { sent: 0, received: 0 }
    let open = 2
    let error: unknown
    let over = false
    const finish = () => {
      if (over) return
      over = true
      signal.removeEventListener('abort', onAbort)
      client.destroy()
      upstream.destroy()
      resolve(error === undefined ? moved : { ...moved, error })
    }
    const fail = (reason: unknown) => {
      if (over) return
      error ??= reason
      const broken = reason instanceof Error ? reason : new Error('relay ended')
      client.destroy(broken)
      upstream.destroy(broken)
      finish()
    }
    const onAbort = () => fail(signal.reason)
    const ended = () => {
      if (--open === 0) finish()
    }
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    copy(client, upstream, (n) => void (moved.sent += n), ended, fail)
    copy(upstream, client, (n) => void (moved.received += n), ended, fail)
  })
}

/** One direction. What breaks off before its end is an error, so that nobody takes a part for the whole. */
function copy(
  from: Duplex,
  to: Duplex,
  count: (n: number) => void,
  ended: () => void,
  fail: (reason: unknown) => void,
): void {
  let done = false
  from.on('data', (chunk: Buffer) => {
    count(chunk.length)
    if (!to.write(chunk)) from.pause()
  })
  to.on('drain', () => from.resume())
  from.once('end', () => {
    to.end(() => {
      done = true
      ended()
    })
  })
  from.on('error', fail)
  from.once('close', () => {
    if (!done && !from.readableEnded)
      fail(new MeshError('connect-failed', { message: 'connection closed early' }))
  })
}
