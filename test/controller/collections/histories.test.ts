import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { explainRow, fixed, keyOf } from '#kube'
import { type Inputs, meshFrom } from '../../../controller/collections/index.ts'
import { kinds, variants } from './histories.ts'
import { settings } from './world.ts'

/** The issue asks for 10⁴. */
const histories = 10_000
t.test(`${histories} random histories end in what a fresh computation gives`, async (t) => {
  const worker = new Worker(new URL('./histories.ts', import.meta.url))
  t.teardown(() => worker.terminate())
  worker.postMessage(histories)
  const [outcome] = await once(worker, 'message')
  t.equal(outcome, 'all equal')
})

t.test('every row can be explained', async (t) => {
  const rows = (kind: keyof Inputs) =>
    fixed(kind, Object.fromEntries(variants[kind].toReversed().map((row) => [keyOf(row), row])))
  const inputs = Object.fromEntries(kinds.map((kind) => [kind, rows(kind)])) as unknown as Inputs
  const mesh = meshFrom(inputs, settings)
  t.ok(mesh.addresses.size() > 0)
  for (const key of mesh.addresses.keys()) {
    const text = JSON.stringify(explainRow(mesh.addresses, key))
    t.match(
      text,
      /"collection":"(pods|services|slices|serviceEntries|workloadEntries)","key":"[^"]+","exists":true,"from":\[\]/,
      key,
    )
  }
  t.strictSame(
    [...mesh.collections.keys()]
      .filter((name) => ['pods', 'Workloads', 'Services', 'Addresses', 'CompiledPolicies'].includes(name))
      .sort(),
    ['Addresses', 'CompiledPolicies', 'Services', 'Workloads', 'pods'],
  )
})
