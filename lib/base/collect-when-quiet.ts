import { performance } from 'node:perf_hooks'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** What a process holds of its runtime, in bytes, and how busy it was since the last look: 0 to 1. */
export type Look = Readonly<{ utilization: number; heldBytes: number }>

/** What there is to remember between looks: how many were quiet in a row, and what was held after the last collection. */
export type Quiet = Readonly<{ looks: number; keptBytes: number }>

const lookEveryMs = 1_000
const quietBelow = 0.05
/** A burst has pauses of a second or two: a reconnecting fleet, a debounce. */
const quietLooks = 3
/** Not worth a pause for less than this, nor for less than a tenth of what is alive. */
const worthBytes = 24 << 20
/** Not worth compiling everything anew: what a few seconds of full load leave behind is less. */
const worthColdBytes = 128 << 20

/**
 * Whether to collect now, and what to remember. A full collection stops the process for about a millisecond per MiB
 * alive, so only one that does nothing else is asked for it, and only once per burst.
 */
export function decideCollection(
  look: Look,
  { looks, keptBytes }: Quiet,
  leastBytes = worthBytes,
): Quiet & { collect: boolean } {
  const quiet = look.utilization < quietBelow ? looks + 1 : 0
  const grown = look.heldBytes - keptBytes
  const collect = quiet >= quietLooks && grown >= Math.max(leastBytes, keptBytes / 10)
  return { looks: collect ? 0 : quiet, keptBytes, collect }
}

/**
 * Returns what a burst leaves behind to the system once it is over: V8 collects when something is allocated, and a process
 * that has fallen quiet allocates nothing, so the garbage of a start or of a thousand new pods would stay resident for days.
 * Ends with `signal`.
 *
 * `warm`, for small heaps of those who forward requests. A collection drops the shapes of which no object is alive, and with
 * them all code that was compiled for those; after one between two requests, the next ones take a hundred milliseconds each
 * and half a second of CPU to compile it all again. So after the first collection, which clears up after the start and gives
 * back even the room for new objects, only a great burst is worth another; V8's own of quiet processes are off.
 */
export function collectWhenQuiet(signal: AbortSignal, how: 'once' | 'warm' = 'once'): void {
  const isWarm = how === 'warm'
  const collect = collection(isWarm ? 'last-resort' : 'regular')
  if (collect === undefined || signal.aborted) return
  if (isWarm) keepShapes()
  let leastBytes = worthBytes
  let quiet: Quiet = { looks: 0, keptBytes: 0 }
  let before = performance.eventLoopUtilization()
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, before)
    before = now
    const decision = decideCollection({ utilization, heldBytes: heldBytes() }, quiet, leastBytes)
    quiet = decision
    if (!decision.collect) return
    collect()
    if (isWarm) leastBytes = worthColdBytes
    quiet = { looks: 0, keptBytes: heldBytes() }
  }, lookEveryMs)
  timer.unref()
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
}

/** Collections that a shape without objects outlives, where V8 heeds it: those of a quarter of an hour of full load. */
const keptCollections = 100

/** Found in `node --v8-options`; these two are read whenever they matter, so they may be set in a process that runs. */
function keepShapes(): void {
  setFlagsFromString('--memory-reducer-gc-count=0')
  setFlagsFromString(`--retain-maps-for-n-gc=${keptCollections}`)
}

/** `process.memoryUsage()` says the same, opens a file for it, and throws where there is no descriptor left. */
function heldBytes(): number {
  const { total_heap_size: heap, external_memory: external } = getHeapStatistics()
  return heap + external
}

/** V8's own, which a running process gets only so. */
function collection(flavor: 'regular' | 'last-resort'): (() => void) | undefined {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  return typeof gc === 'function' ? () => void gc({ type: 'major', execution: 'sync', flavor }) : undefined
}
