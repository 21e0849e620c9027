import { MessageChannel, Worker } from 'node:worker_threads'
import { messageOf } from '#base'
import type { LogControl } from '#telemetry'
import type { AskHost } from '../proxy/index.ts'
import { type Port, serveControl, type ThreadStart, type WorkerStart } from '../worker/index.ts'

/** A worker that was brought to life. */
export type Spawned = Readonly<{
  port: Port
  /** Resolves with the reason when it is no more. */
  ended: Promise<string>
  /** Ends it at once, with every connection that it has. */
  stop(): Promise<void>
}>
export type Spawn = (start: WorkerStart) => Spawned

/** A thread of its own. What happens in it, running out of memory included, ends this thread only. */
export const spawnThread =
  (logs: LogControl): Spawn =>
  (start) => {
    const logPort = logs.adopt()
    const data: ThreadStart = { ...start, logPort }
    const heapMb = start.config.workerHeapMb
    const worker = new Worker(new URL('../worker/main.ts', import.meta.url), {
      name: `data-${start.index}`,
      workerData: data,
      transferList: [logPort],
      // Our descriptors come from the addon and are closed by hand, which Node would complain about.
      trackUnmanagedFds: false,
      ...(heapMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: heapMb } }),
    })
    const ended = Promise.withResolvers<string>()
    let reason = ''
    worker.on('error', (error) => {
      reason = messageOf(error)
    })
    worker.once('exit', (code) => ended.resolve(reason || `exit code ${code}`))
    return {
      port: worker,
      ended: ended.promise,
      stop: async () => void (await worker.terminate()),
    }
  }

/** In this very thread, for tests: the same messages, nothing isolated. */
export const spawnInline =
  (logs: LogControl, random?: () => number, askHost?: AskHost): Spawn =>
  (start) => {
    const { port1, port2 } = new MessageChannel()
    const worker = serveControl(port2, start, { logs, random, askHost })
    const ended = Promise.withResolvers<string>()
    return {
      port: port1,
      ended: ended.promise,
      stop: async () => {
        await worker[Symbol.asyncDispose]()
        port1.close()
        ended.resolve('stopped')
      },
    }
  }
