import { once } from 'node:events'
import t from 'tap'
import { messageOf } from '#base'
import { completed, eventually } from '../fakes/mesh-world.ts'
import { policyResource } from '../fakes/mesh.ts'
import { connectIn, listenIn, talk } from '../fakes/pod-net.ts'
import { clientId, needsRoot, resourcesOf, twoNodes } from '../fakes/two-nodes.ts'

const skip = needsRoot
const cpuMs = (since: NodeJS.CpuUsage) => {
  const { user, system } = process.cpuUsage(since)
  return Math.round((user + system) / 1_000)
}

t.test('a policy decides about new connections, and at once about open ones', { skip }, async (t) => {
  const nodes = await twoNodes('ztl')
  const { world, n1, n2, client, server, stranger } = nodes
  let arrived = 0
  const app = await listenIn(server.netns, 8080, (socket) => {
    arrived++
    socket.pipe(socket)
  })
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const call = async (from: typeof client) => {
    try {
      return await talk(await connectIn(from.netns, server.v4, 8080), 'hello')
    } catch (error) {
      return messageOf(error)
    }
  }
  const last = (node: typeof n2) => completed(node).at(-1)

  await n2.pushPolicies(policyResource({ name: 'only-bob', principals: ['cluster.local/ns/demo/sa/bob'] }))
  t.not(await call(client), 'hello', 'an ALLOW for somebody else refuses')
  await eventually(() => completed(n1).length === 1 && completed(n2).length === 1, 'both log')
  t.match(last(n2), {
    level: 'error',
    error: 'policy rejection: allow policies exist, but none allowed',
    policies: 'demo/only-bob',
  })
  t.match(last(n1), { level: 'error', error: /http status: 401/ })
  t.equal(arrived, 0, 'the app was never connected')
  t.not(await call(stranger), 'hello', 'nor may a stranger')
  t.equal(arrived, 0)

  await n2.pushPolicies(policyResource({ name: 'only-bob', principals: [clientId] }))
  t.equal(await call(client), 'hello', 'the changed policy allows')
  t.not(await call(stranger), 'hello', 'but still not plaintext')

  const open = await connectIn(client.netns, '10.96.0.10', 80)
  open.write('first')
  const [answer] = await once(open, 'data')
  t.equal(String(answer), 'first')
  const closed = t.rejects(once(open, 'end'), { code: 'ECONNRESET' }, 'for its application it has not ended')
  await n2.pushPolicies(policyResource({ name: 'no-client', action: 'deny', principals: [clientId] }))
  await closed
  await eventually(() => last(n2)?.['error'] === 'closed due to policy change', 'the log says so')
  t.match(last(n2), { policies: 'demo/no-client', 'dst.service': 'web.demo.svc.cluster.local' })
  open.destroy()

  t.not(await call(client), 'hello')
  await eventually(
    () => String(last(n2)?.['error']).includes('demo/no-client'),
    'an explicit denial names itself',
  )
  t.match(last(n2), { error: 'policy rejection: explicitly denied by: demo/no-client' })
  const metrics = await n2.ztunnel.registry.metrics()
  t.match(metrics, /istio_tcp_connections_failed_total\{.*response_flags="DENY".*\} \d/)

  await n2.pushPolicies({}, ['demo/no-client', 'demo/only-bob'])
  t.equal(await call(client), 'hello', 'without policies everything is allowed')
  t.equal(await call(stranger), 'hello')

  await n2.push(resourcesOf(nodes, { authorizationPolicies: ['demo/late'] }))
  t.not(await call(client), 'hello', 'a policy that the workload names but that has not arrived refuses')
  await eventually(() => String(last(n2)?.['error']).includes('not been received'), 'and the log says why')
  t.match(last(n2), { policies: 'demo/late' })
})

t.test(
  'a thousand open connections are ended with less work than they were opened with, and no others',
  { skip },
  async (t) => {
    const { world, n2, client, server, stranger } = await twoNodes('ztm')
    const app = await listenIn(server.netns, 8080, (socket) => socket.pipe(socket))
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    let over = 0
    const open = async (from: typeof client) => {
      const socket = await connectIn(from.netns, server.v4, 8080)
      socket.on('error', () => undefined)
      const echo = once(socket, 'data', { signal: AbortSignal.timeout(20_000) })
      socket.write('x')
      await echo
      const ended = new Promise((done) => socket.once('end', done).once('close', done))
      void ended.then(() => over++)
      return socket
    }
    const denied = []
    const start = process.cpuUsage()
    for (let i = 0; i < 20; i++)
      denied.push(...(await Promise.all(Array.from({ length: 50 }, () => open(client)))))
    const others = await Promise.all(Array.from({ length: 20 }, () => open(stranger)))
    t.equal(over, 0)
    // Processor time, because a test machine has other things to do: of both ztunnels, the apps and the callers.
    const before = process.cpuUsage()
    await n2.pushPolicies(policyResource({ name: 'no-client', action: 'deny', principals: [clientId] }))
    await eventually(() => over >= 1000, 'the ends')
    const [opening, ending] = [cpuMs(start) - cpuMs(before), cpuMs(before)]
    t.ok(ending < opening, `${ending} ms of work, where the connections took ${opening}`)
    for (const socket of others) {
      const echo = once(socket, 'data', { signal: AbortSignal.timeout(10_000) })
      socket.write('y')
      t.equal(String((await echo)[0]), 'y')
    }
    t.equal(over, 1000)
    const named = () =>
      completed(n2).filter(
        ({ policies, reason }) => policies === 'demo/no-client' && reason === 'policy-denied',
      )
    const summed = () =>
      n2.lines
        .filter(({ message }) => message === 'connections failed')
        .reduce((sum, { count }) => sum + Number(count), 0)
    await eventually(() => named().length + summed() === 1000, 'each is told, alone or in the sum')
    t.ok(named().length >= 500)
    for (const socket of [...denied, ...others]) socket.destroy()
  },
)
