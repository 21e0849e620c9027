import { parentPort, workerData } from 'node:worker_threads'
import { startLogging } from '#telemetry'

/** A worker thread that logs on command; `{ crash: true }` logs once more and dies of an error. */
const logs = startLogging({ port: workerData.port, format: 'json' })
const log = logs.root('worker')
let number = 0

parentPort?.on('message', ({ lines = 0, crash = false, flush = true, done }) => {
  for (let n = 0; n < lines; n++) log.info('line', { number: number++, text: 'x'.repeat(900) })
  if (done instanceof Int32Array) {
    Atomics.store(done, 0, 1)
    Atomics.notify(done, 0)
  }
  log.debug('detail')
  if (crash) {
    log.error('last words')
    throw new Error('crash')
  }
  void (flush ? logs.flush() : Promise.resolve()).then(() =>
    parentPort?.postMessage({ dropped: logs.dropped(), filter: logs.filter() }),
  )
})
parentPort?.postMessage('up')
