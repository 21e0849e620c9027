/** Time as the certificates see it; tests bring their own. */
export type Clock = Readonly<{
  now(): number
  after(ms: number, task: () => void): Disposable
}>

/** Longer timers overflow in Node and fire at once; whoever waits longer looks again. */
const longestTimerMs = 0x7fff_ffff

export const systemClock: Clock = {
  now: Date.now,
  after: (ms, task) => {
    const timer = setTimeout(task, Math.min(longestTimerMs, Math.max(0, ms)))
    timer.unref()
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  },
}
