import { Histogram, type Registry } from '#telemetry'

/** How often the loop is asked whether it turns. */
const beatMs = 250
/** Seconds. An orderly loop is in the first; beyond the last the worker counts as stalled. */
const buckets = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/**
 * Measures how late this thread's timers are, which is what everything else on its loop waits as well, and counts each
 * turn in `beat`, where another thread sees whether it still turns.
 */
export function watchLoop(registry: Registry, beat: SharedArrayBuffer): Disposable {
  const delay = new Histogram({
    name: 'lateen_event_loop_delay_seconds',
    help: 'How late the timers of a thread are (unstable)',
    buckets,
    registers: [registry],
  })
  const words = new Int32Array(beat)
  let expected = performance.now() + beatMs
  const timer = setInterval(() => {
    const now = performance.now()
    delay.observe(Math.max(0, now - expected) / 1_000)
    expected = now + beatMs
    Atomics.add(words, 0, 1)
  }, beatMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Memory for `watchLoop`. */
export const newBeat = (): SharedArrayBuffer => new SharedArrayBuffer(4)
