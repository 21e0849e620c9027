import { timerMs } from '#base'
import type { ByteStream } from '#hbone'

/** As many looks without a byte taken are enough. */
const maxStill = 30

/**
 * After our end: lets the peer read what waits for it, as long as it takes some of it now and then, and gives it `ms`
 * to close. Closing earlier would cost it our last answer.
 */
export function linger(stream: ByteStream, ms: number): NodeJS.Timeout {
  let last = Number.POSITIVE_INFINITY
  let still = 0
  const timer = setInterval(() => {
    const { pending } = stream
    still = pending < last ? 0 : still + 1
    last = pending
    if (pending > 0 && still < maxStill) return
    clearInterval(timer)
    stream.destroy()
  }, timerMs(ms)).unref()
  return timer
}
