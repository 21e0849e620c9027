import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { logMetrics, Registry, startLogging } from '#telemetry'

async function start(test: { teardown(fn: () => unknown): unknown }) {
  const lines: string[] = []
  const logs = startLogging({ write: (line) => lines.push(line) })
  const port = logs.adopt()
  const worker = new Worker(new URL('log-worker.ts', import.meta.url), {
    workerData: { port },
    transferList: [port],
  })
  test.teardown(() => worker.terminate())
  await once(worker, 'message')
  const ask = async (command: object): Promise<{ dropped: number; filter: string }> => {
    worker.postMessage(command)
    const [told] = await once(worker, 'message')
    return told
  }
  return { lines, logs, worker, ask }
}
const messages = (lines: readonly string[]) => lines.map((line) => JSON.parse(line).message)

t.test('the lines of a worker thread come out of the main thread, each whole and in order', async (t) => {
  const { lines, ask } = await start(t)
  await ask({ lines: 300 })
  t.same(
    lines.map((line) => JSON.parse(line).number),
    Array.from({ length: 300 }, (_, n) => n),
  )
  t.ok(lines.every((line) => line.endsWith('}\n')))
})

t.test('a filter set in the main thread is followed by the worker', async (t) => {
  const { lines, logs, ask } = await start(t)
  t.equal((await ask({})).filter, 'info')
  logs.setFilter('worker=debug')
  while ((await ask({})).filter !== 'worker=debug'); // it comes by another channel than the question
  t.ok(messages(lines).every((message) => message === 'detail'))
  t.ok(lines.length > 0)
})

t.test('while the main thread is held up a worker keeps 1 MiB and counts what it drops', async (t) => {
  const { lines, logs, worker, ask } = await start(t)
  const registry = new Registry()
  logMetrics(registry, logs)
  const done = new Int32Array(new SharedArrayBuffer(4))
  worker.postMessage({ lines: 5_000, flush: false, done })
  t.equal(Atomics.wait(done, 0, 0, 20_000), 'ok', 'the main thread does not come to read')
  const [{ dropped }] = await once(worker, 'message')
  t.ok(dropped > 3_500 && dropped < 4_500, `${dropped} of 5000 lines dropped`)
  await ask({}) // what is under way has been taken
  await ask({ lines: 1 })
  t.equal(lines.length, 5_001 - dropped)
  t.equal(logs.dropped(), dropped, 'the main thread knows')
  t.match(await registry.metrics(), `lateen_log_lines_dropped_total ${dropped}\n`)
})

t.test('the last words of a worker that dies are not lost, and its port is let go', async (t) => {
  const { lines, logs, worker } = await start(t)
  const { promise: died, resolve } = Promise.withResolvers<unknown>()
  worker.once('error', (error) => worker.once('exit', () => resolve(error)))
  worker.postMessage({ lines: 2, crash: true })
  t.match(await died, { message: 'crash' })
  while (lines.length < 3) await new Promise((resolve) => setImmediate(resolve))
  t.same(messages(lines), ['line', 'line', 'last words'])
  logs.setFilter('debug') // reaches nobody, harms nobody
})
