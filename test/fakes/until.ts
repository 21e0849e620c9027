import { setTimeout as delay } from 'node:timers/promises'

/** Tries an assertion-free condition until it holds or the deadline passes; then once more, for its error. */
export async function until(condition: () => boolean, what: string, timeoutMs = 20_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`still not so after ${timeoutMs} ms: ${what}`)
    await delay(5)
  }
}
