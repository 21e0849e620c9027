import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import t from 'tap'

/** The issue asks for 10⁴ in all; in parts, so that each has its own time on a machine with much else to do. */
const parts = 10
const histories = 1_000
const patienceMs = 300_000
t.setTimeout(parts * patienceMs)

const worker = new Worker(new URL('./histories.ts', import.meta.url))
t.teardown(() => worker.terminate())
for (let part = 1; part <= parts; part++)
  t.test(
    `${histories} random histories end in what a fresh computation gives (${part} of ${parts})`,
    { timeout: patienceMs },
    async (t) => {
      worker.postMessage(histories)
      const [outcome] = await once(worker, 'message')
      t.equal(outcome, 'all equal')
    },
  )
