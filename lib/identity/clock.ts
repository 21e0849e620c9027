/** Time as the certificates see it; tests bring their own. */
export type Clock = Readonly<{
  /** The time of day, which somebody may set. */
  now(): number
  /** Milliseconds since some beginning; nobody sets it. */
  monotonic(): number
  /** Counts monotonic time. */
  after(ms: number, task: () => void): Disposable
  /** Calls `listener` when the time of day has been set, or the machine has slept. */
  onJump(listener: () => void): Disposable
}>

/** Longer timers overflow in Node and fire at once; whoever waits longer looks again. */
const longestTimerMs = 0x7fff_ffff
const jumpCheckMs = 15_000
/** Slewing and late timers stay below this. */
const leastJumpMs = 2_000

const after = (ms: number, task: () => void): Disposable => {
  const timer = setTimeout(task, Math.min(longestTimerMs, Math.max(0, ms)))
  timer.unref()
  return { [Symbol.dispose]: () => clearTimeout(timer) }
}

type Times = Readonly<{ now(): number; monotonic(): number; checkMs?: number }>

/** Compares the two kinds of time now and then, and says when they have moved apart. */
export function watchJumps(
  { now, monotonic, checkMs = jumpCheckMs }: Times,
  listener: () => void,
): Disposable {
  const apart = () => now() - monotonic()
  let known = apart()
  const timer = setInterval(() => {
    const found = apart()
    if (Math.abs(found - known) < leastJumpMs) return
    known = found
    listener()
  }, checkMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

const times = { now: Date.now, monotonic: () => performance.now() }

/** The clocks and timers of the process. */
export const systemClock: Clock = { ...times, after, onJump: (listener) => watchJumps(times, listener) }
