import t from 'tap'
import { workload as wire, addressTypeUrl } from '#wire'
import { workloadResource, workloadWire } from '../fakes/mesh.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import type { Resources } from '../helpers/control-plane.ts'
import type { ZtunnelProcess } from '../helpers/ztunnel-process.ts'
import { call, echoIn, FaultWorld, report, resourcesOf, traffic } from './fault-world.ts'

// R-24, row 69: bad objects among good ones. The good are in force, the bad are named, nothing restarts.

const good = 1_000
const mutants = 300
t.setTimeout(300_000)

const encode = (value: wire.Workload) => wire.Address.encode({ type: { $case: 'workload', value } }).finish()

/** What makes an object bad, in turn. */
const poisons: ((name: string, i: number) => Uint8Array)[] = [
  (name, i) => encode({ ...workloadWire({ name }), addresses: [Buffer.alloc(1 + (i % 3), 10)] }),
  (name) => encode({ ...workloadWire({ name }), addresses: [Buffer.alloc(17, 10)] }),
  (name, i) => encode(workloadWire({ name, addresses: ['10.9.9.9'] })).subarray(0, 8 + (i % 20)),
  () => Buffer.from('ffffffffffffffffffff', 'hex'),
  (name, i) => Buffer.concat([Buffer.from([0x0a, 0xff, 0xff, 0x03]), Buffer.from(name), Buffer.alloc(i % 7)]),
]

const poisoned: Resources = Object.fromEntries(
  Array.from({ length: mutants }, (_, i) => {
    const name = `mutant-${i}`
    const bytes = poisons[i % poisons.length]?.(name, i) ?? new Uint8Array()
    return [`Kubernetes//Pod/demo/${name}`, { bytes }]
  }),
)
const healthy: Resources = Object.assign(
  {},
  ...Array.from({ length: good }, (_, i) =>
    workloadResource({ name: `good-${i}`, node: 'n9', addresses: [`10.77.${i >> 8}.${i & 255}`] }),
  ),
)

/** How many workloads of this prefix the node knows. */
async function known(ztunnel: ZtunnelProcess, prefix: string): Promise<number> {
  const text = await (await ztunnel.get('admin', '/config_dump')).text()
  return new Set(text.match(new RegExp(`"${prefix}-\\d+"`, 'g'))).size
}

t.test('300 mutants among 1 000 good objects', { skip: needsRoot }, async (t) => {
  const world = await FaultWorld.start('fpo')
  const { n1, control, client, server } = world
  const app = await echoIn(server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const { pid } = n1.ztunnel
  const steady = traffic(client)
  const began = performance.now()
  control.push(addressTypeUrl, { ...poisoned, ...healthy })
  await control.answered()
  await eventually(async () => (await known(n1.ztunnel, 'good')) === good, 'the good ones are in force')
  const goodMs = performance.now() - began
  t.equal(await known(n1.ztunnel, 'mutant'), 0, 'none of the bad ones is')
  t.equal(control.nacks.length, 2, 'each node has said no')
  t.match(control.nacks[0], /mutant-0/, 'naming who')

  control.push(addressTypeUrl, { 'Kubernetes//Pod/demo/server': { bytes: Buffer.from('ffff', 'hex') } })
  await control.answered()
  t.equal(control.nacks.length, 4)
  t.match(control.nacks[3], /demo\/server/)
  t.type(await call(client), 'number', 'of an object that has gone bad the last good version stays')

  control.push(addressTypeUrl, resourcesOf(client, server), Object.keys(poisoned))
  await control.answered()
  t.equal(control.nacks.length, 4, 'healed: nothing more is refused')
  t.type(await call(client), 'number')
  await steady.stop()
  t.same(steady.failures, [], `${steady.latencies.length} calls went well meanwhile`)
  t.equal(n1.ztunnel.pid, pid)
  t.ok(n1.ztunnel.alive && world.n2.ztunnel.alive, 'nothing restarted')
  t.equal(await n1.ztunnel.metric('lateen_bugs_total'), 0)
  report('poison-config', { good, mutants, goodMs, nack: control.nacks[0]?.slice(0, 200) })
})
