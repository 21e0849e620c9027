import { execFileSync } from 'node:child_process'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import net from 'node:net'
import t from 'tap'
import { sandboxConfig } from '../../sandbox/config.ts'
import { startNodeServices } from '../../sandbox/node-services/index.ts'
import { silent } from '#telemetry'
import { FakeKube } from '../fakes/fake-kube.ts'

const isRoot = process.getuid?.() === 0
/** Set in the copy of this process that has a network namespace of its own. */
const inside = process.env['LATEEN_TEST_NETNS'] === 'inside'

const run = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' })
const service = (name: string, clusterIP: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { clusterIP, clusterIPs: [clusterIP], ports: [{ name: 'http', port: 80, protocol: 'TCP' }] },
})
const slice = (of: string, address: string, port: number) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: of, namespace: 'shop', labels: { 'kubernetes.io/service-name': of } },
  addressType: 'IPv4',
  endpoints: [{ addresses: [address], conditions: { ready: true } }],
  ports: [{ name: 'http', port, protocol: 'TCP' }],
})

async function serve(say: string): Promise<net.Server> {
  const server = net.createServer((socket) => socket.on('error', () => undefined).end(say))
  server.listen(0, '10.244.1.2')
  await once(server, 'listening')
  return server
}
const portOf = (server: net.Server): number => {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
async function ask(host: string, port: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let said = ''
  const socket = net.connect(port, host)
  socket.on('data', (chunk) => (said += chunk.toString()))
  socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
  socket.on('close', () => resolve(said))
  return promise
}
async function until(what: string, is: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!(await is())) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

if (!inside)
  t.test('a node serves Service addresses and names', { skip: !isRoot && 'needs root' }, async (t) => {
    const env = { ...process.env, LATEEN_TEST_NETNS: 'inside' }
    await t.spawn('unshare', ['--net', process.execPath, import.meta.filename], { env })
  })
else
  t.test('names, addresses, changes, and an end that interrupts nobody', async (t) => {
    run('link', 'set', 'lo', 'up')
    run('addr', 'add', '10.244.1.2/32', 'dev', 'lo')
    run('route', 'add', 'default', 'dev', 'lo')
    const [one, two] = [await serve('one'), await serve('two')]
    await using kube = await FakeKube.start(
      service('order', '10.96.0.50'),
      service('kube-dns', '10.96.0.10'),
      slice('order', '10.244.1.2', portOf(one)),
    )
    const config = sandboxConfig('t')
    const [node] = config.nodes
    if (!node) return t.fail('no node')
    const signal = AbortSignal.timeout(100_000)
    {
      await using _ = await startNodeServices({ config, node, client: kube.client(), signal, log: silent })
      for (const server of ['10.96.0.10', '[fd00:10:96::a]']) {
        const resolver = new Resolver({ timeout: 20_000, tries: 1 })
        resolver.setServers([server])
        t.same(await resolver.resolve4('order.shop.svc.cluster.local'), ['10.96.0.50'], server)
        await t.rejects(resolver.resolve4('nope.shop.svc.cluster.local'), { code: 'ENOTFOUND' }, server)
        await t.rejects(resolver.resolve4('example.org'), { code: 'EREFUSED' }, server)
      }
      t.equal(await ask('10.96.0.50', 80), 'one')
      kube.put(slice('order', '10.244.1.2', portOf(two)))
      await until('the new endpoint', async () => (await ask('10.96.0.50', 80)) === 'two')
      kube.put(service('late', '10.96.0.60'))
      await until('a refusal', async () => (await ask('10.96.0.60', 80)) === 'ECONNREFUSED')
      kube.put(slice('late', '10.244.1.2', portOf(one)))
      await until('an answer', async () => (await ask('10.96.0.60', 80)) === 'one')
    }
    t.equal(await ask('10.96.0.50', 80), 'two', 'the rules stay when the agent goes')
    await using _again = await startNodeServices({ config, node, client: kube.client(), signal, log: silent })
    t.equal(await ask('10.96.0.60', 80), 'one', 'and a new agent takes over')
    for (const server of [one, two]) server.close()
  })
