import { timerMs } from './retry.ts'

type Destroyable = { destroy(error?: Error): unknown }

/** Owns a stream for a scope. A stream's own async dispose rejects again with its error, so `using` needs this. */
export const destroying = (stream: Destroyable): Disposable => ({
  [Symbol.dispose]: () => void stream.destroy(),
})

/** A signal that fires with `parent` or after `ms`, whichever is first. */
export const within = (ms: number, parent: AbortSignal): AbortSignal =>
  AbortSignal.any([parent, AbortSignal.timeout(timerMs(ms))])

/** Runs `task` whenever it is asked for, one run at a time; requests during a run are merged into one more. */
export function coalesce(task: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  let again: Promise<void> | undefined
  const run = () => {
    running = task().finally(() => {
      running = undefined
    })
    return running
  }
  return () => {
    if (!running) return run()
    again ??= running.then(
      () => {
        again = undefined
        return run()
      },
      () => {
        again = undefined
        return run()
      },
    )
    return again
  }
}
