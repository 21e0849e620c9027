import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { call, echoIn, FaultWorld, quantile, report } from './fault-world.ts'

// what a connection takes it gives back. FAULT_CONNECTIONS=100000 is the nightly row.

const connections = Number(process.env['FAULT_CONNECTIONS'] ?? 10_000)
const heapMb = 36
const atOnce = 32
const rounds = 4
t.setTimeout(110_000 + connections * 10)

t.test(`${connections} connections`, { skip: needsRoot }, async (t) => {
  // A heap with this little to spare cannot hide a leak: 2 KiB per connection would end the worker.
  const node = {
    flags: ['--max-semi-space-size=1', `--max-old-space-size=${heapMb}`],
    env: { WORKER_HEAP_MB: `${heapMb}` },
  }
  const world = await FaultWorld.start('flk', node, node)
  const app = await echoIn(world.server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const nodes = [world.n1.ztunnel, world.n2.ztunnel]
  const failures: string[] = []
  const latencies: number[] = []
  const round = async (count: number) => {
    let left = count
    const one = async () => {
      while (left-- > 0) {
        const result = await call(world.client)
        if (typeof result === 'string') failures.push(result)
        else latencies.push(result)
      }
    }
    await Promise.all(Array.from({ length: atOnce }, one))
    await eventually(async () => {
      const held = await Promise.all(nodes.map((node) => node.metric('lateen_connection_descriptors')))
      return held.every((count) => count <= 2)
    }, 'all connections are over')
    return nodes.map((node) => ({ rss: node.rssBytes, fds: node.descriptors }))
  }
  await round(connections / rounds)
  const first = await round(connections / rounds)
  const last = []
  for (let i = 2; i < rounds; i++) last.push(await round(connections / rounds))
  const end = last.at(-1) ?? first
  report('leaks', { connections, failed: failures.length, first, end, p99: quantile(latencies, 0.99) })
  t.same(
    Object.groupBy(failures, (text) => text),
    {},
    '0 failures',
  )
  for (const [i, { rss, fds }] of end.entries()) {
    const base = first[i]
    t.ok(Math.abs(fds - (base?.fds ?? 0)) <= 2, `descriptors: ${base?.fds}, then ${fds}`)
    t.ok(rss <= (base?.rss ?? 0) * 1.1, `RSS: ${base?.rss}, then ${rss}`)
  }
  for (const node of nodes)
    t.equal(await node.metric('lateen_data_worker_deaths_total'), 0, 'no worker has run out of memory')
  const opened = await nodes[0]?.metric('istio_tcp_connections_opened_total')
  t.equal(opened, connections, 'every one is counted as opened')
  t.equal(await nodes[0]?.metric('istio_tcp_connections_closed_total'), opened, 'and as closed')
})
