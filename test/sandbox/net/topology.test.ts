import t from 'tap'
import { sandboxConfig } from '../../../sandbox/config.ts'
import { quote } from '../../../sandbox/net/run.ts'
import { topologyPlan } from '../../../sandbox/net/topology.ts'

const [fabric, one, two, three] = topologyPlan(sandboxConfig('plan', 3))

t.test('everything happens inside namespaces of the instance', async (t) => {
  t.strictSame(
    [fabric, one, two, three].map((plan) => plan?.netns),
    ['plan-fabric', 'plan-node-1', 'plan-node-2', 'plan-node-3'],
  )
  const links = fabric?.ip.filter((line) => line.includes('type veth')) ?? []
  t.equal(links.length, 3)
  for (const line of links)
    t.match(line, /peer name eth0 netns plan-node-\d$/, 'no end of a link is ever in the root namespace')
})

t.test('the fabric answers for gateway and API, and has no opinion about what it switches', async (t) => {
  for (const address of ['10.77.0.1/24', '10.77.0.2/24', 'fd77::1/64', 'fd77::2/64'])
    t.ok(
      fabric?.ip.some((line) => line.includes(address)),
      address,
    )
  t.equal(fabric?.sysctls['net/bridge/bridge-nf-call-iptables'], '0')
})

t.test('a node routes to the pods of every other node, not to its own', async (t) => {
  const routes = one?.ip.filter((line) => line.startsWith('route add 10.244')) ?? []
  t.strictSame(routes, ['route add 10.244.2.0/24 via 10.77.0.12', 'route add 10.244.3.0/24 via 10.77.0.13'])
  t.ok(one?.ip.includes('route add default via fd77::1'))
  t.equal(one?.sysctls['net/ipv4/ip_forward'], '1')
})

t.test('words of the shell', async (t) => {
  t.equal(quote('/a/b-c.d'), '/a/b-c.d')
  t.equal(quote("it's $x"), `'it'\\''s $x'`)
  t.equal(quote(''), "''")
})
