import { maxTimerMs } from '#base'
import { type Collection, type WorkQueue, workQueue } from '#kube'
import type { Action } from './actions.ts'
import { perform, type World } from './perform.ts'

/** Calls back with each key that should be looked at. */
type Source = (add: (key: string) => void) => Disposable

/** One controller: which keys a change concerns, and what a key needs now. */
export type Controller = Readonly<{
  name: string
  sources: readonly Source[]
  plan(key: string, now: Date): readonly Action[]
  /** Keys worked on at the same time. */
  concurrency?: number
}>

/** The keys that a change of a row concerns, whether it came, changed or went. */
export const on =
  <T>(rows: Collection<T>, keysOf: (row: T) => readonly string[]): Source =>
  (add) =>
    rows.subscribe((changes) => {
      for (const { old, row } of changes)
        for (const each of [old, row]) if (each !== undefined) for (const key of keysOf(each)) add(key)
    })

/** Plans and performs for each key that its sources name, again after failures and when a plan asks for it. */
export function runController(
  { name, sources, plan, concurrency = 2 }: Controller,
  world: World,
  signal: AbortSignal,
): AsyncDisposable {
  const timers = new Map<string, NodeJS.Timeout>()
  const later = (key: string, afterMs: number | undefined) => {
    clearTimeout(timers.get(key))
    timers.delete(key)
    if (afterMs === undefined) return
    const timer = setTimeout(
      () => {
        timers.delete(key)
        queue.add(key)
      },
      Math.min(afterMs, maxTimerMs),
    ) // a look that comes early asks again
    timers.set(key, timer)
  }
  const queue: WorkQueue = workQueue({
    name,
    concurrency,
    signal,
    log: world.log,
    capMs: 15_000,
    reconcile: async (key, aborted) => later(key, await perform(plan(key, world.now()), world, aborted)),
  })
  const subscriptions = sources.map((source) => source((key) => queue.add(key)))
  return {
    [Symbol.asyncDispose]: async () => {
      for (const subscription of subscriptions) subscription[Symbol.dispose]()
      for (const timer of timers.values()) clearTimeout(timer)
      await queue[Symbol.asyncDispose]()
    },
  }
}
