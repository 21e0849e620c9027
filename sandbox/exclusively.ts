import { once } from 'node:events'
import { createServer } from 'node:net'
import { codeOf, MeshError, sleep } from '#base'

/** What may hold it is bounded itself: a sweep, a network, a start. */
const patienceMs = 60_000
const pollMs = 50

/**
 * Runs `task` while no other process of the machine runs one for this instance: an `up` beside another, or beside a
 * `down`, would sweep away what the other has just made. The name of an abstract socket is the lock; the kernel frees it
 * with its process, so it never outlives who held it.
 */
export async function exclusively<T>(
  name: string,
  task: () => Promise<T>,
  signal: AbortSignal,
  waitMs = patienceMs,
): Promise<T> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const lock = createServer((socket) => socket.destroy())
    try {
      lock.listen(`\0lateen/sandbox/${name}`)
      await once(lock, 'listening')
    } catch (error) {
      if (codeOf(error) !== 'EADDRINUSE') throw error
      if (performance.now() > deadline)
        throw new MeshError('unavailable', {
          message: `sandbox ${name} is being brought up or down by another command; try again when that has ended`,
        })
      await sleep(pollMs, signal)
      continue
    }
    try {
      return await task()
    } finally {
      lock.close()
    }
  }
}
