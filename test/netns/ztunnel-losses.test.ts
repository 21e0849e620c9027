import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { completed, eventually } from '../fakes/mesh-world.ts'
import { workloadResource } from '../fakes/mesh.ts'
import { connectIn, talk } from '../fakes/pod-net.ts'
import { echoIn, needsRoot, twoNodes } from '../fakes/two-nodes.ts'

const skip = needsRoot
const web = 'demo/web.demo.svc.cluster.local'

/** Takes the cable of a pod's port on the switch out, or puts it in again. */
const link = (fabric: string, port: number, state: 'up' | 'down') =>
  execFileSync('ip', ['-n', fabric, 'link', 'set', `p${port}`, state])

t.test(
  'a node that is lost costs one connect timeout, and later connections nothing',
  { skip },
  async (t) => {
    const { world, n1, client, server } = await twoNodes('ztq', { CONNECT_TIMEOUT: '2s' })
    const gone = world.network.pod('gone', 4)
    const app = await echoIn(server)
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    const services = { [web]: { 80: 8080 } }
    // Two endpoints of three were on it.
    await n1.push({
      ...workloadResource({ name: 'gone-1', addresses: [gone.v4], services }),
      ...workloadResource({ name: 'gone-2', addresses: [gone.v6], services }),
    })
    link(world.network.fabric, 4, 'down')
    const call = async () => {
      const began = performance.now()
      const answer = await talk(await connectIn(client.netns, '10.96.0.10', 80), 'x')
      return { answer, ms: performance.now() - began }
    }
    const during = await Promise.all(Array.from({ length: 20 }, call))
    t.same(
      during.map(({ answer }) => answer),
      during.map(() => `${client.v4} x`),
      'no connection fails',
    )
    await eventually(() => completed(n1).length === 20, 'the lines')
    const tried = completed(n1).filter((line) => 'attempts' in line)
    t.ok(tried.length > 0, `${tried.length} of 20 tried the lost node first`)
    for (const line of tried) t.match(line, { level: 'info', attempts: /maybe a NetworkPolicy is blocking/ })
    const after = await Promise.all(Array.from({ length: 20 }, call))
    t.same(
      after.map(({ answer }) => answer),
      after.map(() => `${client.v4} x`),
    )
    await eventually(() => completed(n1).length === 40, 'the lines')
    const late = completed(n1).slice(20)
    t.notOk(
      late.some((line) => 'attempts' in line),
      'the lost ones are passed over',
    )
  },
)

t.test(
  'a cut between the nodes: what crosses it ends or waits, and after it all is well',
  { skip },
  async (t) => {
    const { world, n1, client, server } = await twoNodes('zte', { CONNECT_TIMEOUT: '2s' })
    const app = await echoIn(server)
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    const call = async (text: string, to = server.v4) => talk(await connectIn(client.netns, to, 8080), text)
    const open = await connectIn(client.netns, server.v4, 8080)
    open.on('error', () => undefined)
    let echoed = ''
    open.on('data', (part: Buffer) => (echoed += part.toString()))
    open.write('before;')
    await eventually(() => echoed.endsWith('before;'), 'the echo')
    link(world.network.fabric, 2, 'down')
    open.write('during;')
    const settled = (answer: Promise<string>) => answer.catch(() => 'failed')
    const across = settled(call('lost'))
    // Until a new dial has given up.
    t.match(await settled(call('lost', server.v6)), /^(failed)?$/)
    link(world.network.fabric, 2, 'up')
    let first = ''
    await eventually(async () => {
      first = await call('again').catch(() => '')
      return first !== ''
    }, 'a connection after the cut')
    t.equal(first, `${client.v4} again`)
    await eventually(() => echoed.endsWith('during;'), 'the rest of what was open')
    t.equal(echoed, `${client.v4} before;during;`, 'nothing twice, nothing lost')
    const during = await across
    t.ok(['failed', '', `${client.v4} lost`].includes(during), during)
    open.end()
    await once(open, 'close')
    t.equal(n1.ztunnel.readiness.waitingFor.length, 0)
  },
)
