import { execFileSync } from 'node:child_process'
import t from 'tap'
import { spiffeId } from '#identity'
import { openNetns } from '#linux'
import { eventually } from '../fakes/mesh-world.ts'
import { policyResource, serviceResource } from '../fakes/mesh.ts'
import { connectIn } from '../fakes/pod-net.ts'
import { H2Peer } from '../fakes/h2-peer.ts'
import { Recorder } from '../fakes/recorder.ts'
import { needsRoot, resourcesOf, twoNodes } from '../fakes/two-nodes.ts'

/**
 * CONNECT by a peer with a good certificate. Each forbidden authority is asked for with bytes right behind the request,
 * and is followed on the same connection by one that is allowed: the first reaches nobody, the second its app alone.
 */
const limitMs = 20_000
const attack = 'ATTACK'.repeat(100)
const id = (serviceAccount: string) =>
  spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount })

/** What a port of the mesh is called by those who mean to come back to it. */
const web = 'demo/web.demo.svc.cluster.local'
const evil = 'demo/evil.demo.svc.cluster.local'
const evilPorts = { 1: 15001, 2: 15006, 3: 15008 }

async function setUp(prefix: string) {
  const nodes = await twoNodes(prefix)
  const { world, client, server, stranger, n2 } = nodes
  const fabric = world.network.fabric
  for (const address of ['10.99.0.254/24', '169.254.169.254/32'])
    execFileSync('ip', ['-n', fabric, 'addr', 'add', address, 'dev', 'br0'])
  const node = openNetns(`/run/netns/${fabric}`)
  const recorder = new Recorder()
  await recorder.listen(node, 'node', [80, 8080])
  await recorder.listen(client.netns, 'client', [8080])
  await recorder.listen(stranger.netns, 'stranger', [8080])
  await recorder.listen(server.netns, 'server', [80, 8080])
  for (const address of ['127.0.0.1', '::1'])
    await recorder.listen(server.netns, 'loopback of server', [7070, 15000, 15020], address)
  const services = { [web]: { 80: 8080 }, [evil]: evilPorts }
  const push = resourcesOf(nodes, { services })
  await n2.push({ ...push, ...serviceResource({ name: 'evil', vips: ['10.96.0.66'], ports: evilPorts }) })
  const certificate = world.ca.workload(id('stranger'))
  const peer = async (to: string) => H2Peer.open(await connectIn(stranger.netns, to, 15008), certificate)
  return {
    ...nodes,
    recorder,
    peer,
    end: async () => {
      recorder[Symbol.dispose]()
      node[Symbol.dispose]()
      await world[Symbol.asyncDispose]()
    },
  }
}

type Scene = Awaited<ReturnType<typeof setUp>>
/** Status 0: no answer, but a reset, since the request is not even one. */
type Row = readonly [authority: string, status: number, why: string]

/** `own` is the address that was dialled, `other` the pod's of the other family. */
function rowsOf({ client, stranger }: Scene, own: string, other: string): Row[] {
  const at = (address: string, port: number | string = 8080) =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
  const bare = own.includes(':') ? `[${own}]` : own
  return [
    ...[15001, 15006, 15008].map((port): Row => [at(own, port), 503, 'a port of ours: nested']),
    ...[1, 2, 3].map((port): Row => [`evil.demo.svc.cluster.local:${port}`, 503, 'a name of a port of ours']),
    ...[15053, 15080, 15000, 15020, 15021, 7070].map(
      (port): Row => [at(own, port), 503, 'nobody listens on the address'],
    ),
    [at(client.v4), 400, 'another enrolled pod'],
    [at(client.v6), 400, 'another enrolled pod'],
    [at(stranger.v4), 400, 'a pod outside'],
    [at(stranger.v6), 400, 'a pod outside'],
    [at(stranger.v4, 15008), 400, 'another proxy'],
    [at('10.99.0.254', 80), 400, 'the node'],
    ['10.96.0.10:80', 400, 'a VIP, where the pod is no waypoint'],
    ['[fd96::10]:80', 400, 'a VIP'],
    ['10.96.0.77:80', 400, 'a VIP of nobody'],
    [at(other), 400, 'the address of the other family'],
    ...['127.0.0.1', '127.0.0.53', '127.255.255.254', '::1', '0.0.0.0', '::'].flatMap((address): Row[] => [
      [at(address, 8080), 400, 'loopback'],
      [at(address, 7070), 400, 'what only loopback has'],
      [at(address, 15000), 400, 'an admin port'],
    ]),
    ['169.254.169.254:80', 400, 'metadata of the cloud'],
    ['[fd00:ec2::254]:80', 400, 'the same by IPv6'],
    ['169.254.7.127:8080', 400, 'the address of probes'],
    ['255.255.255.255:8080', 400, 'broadcast'],
    ['224.0.0.1:8080', 400, 'multicast'],
    ['[ff02::1]:8080', 400, 'multicast'],
    ['[fe80::1]:8080', 400, 'link-local'],
    ['[::ffff:127.0.0.1]:8080', 400, 'IPv4-mapped loopback'],
    ['[::ffff:7f00:1]:8080', 400, 'the same in hexadecimal'],
    ['[::ffff:169.254.169.254]:80', 400, 'IPv4-mapped metadata'],
    ['[::ffff:10.99.0.2]:8080', 400, 'the own address, IPv4-mapped'],
    ['[::ffff:a63:2]:8080', 400, 'the same in hexadecimal'],
    ['[0:0:0:0:0:ffff:a63:2]:8080', 400, 'the same in full'],
    ['[64:ff9b::a63:2]:8080', 400, 'NAT64'],
    ['[::10.99.0.2]:8080', 400, 'IPv4-compatible'],
    ...[
      '0',
      '00000',
      '65536',
      '99999',
      '100000',
      '-1',
      '+8080',
      '8080a',
      '0x1f90',
      '',
      ' 8080',
      '8080:8080',
      '8080/',
      '8080/x',
      '8080?x',
      '8080#x',
    ].map((port): Row => [`${bare}:${port}`, 400, 'no port']),
    [`${bare}:8080 `, 0, 'a blank at the end'],
    [`${bare}:８０８０`, 0, 'wide digits, which are control characters in a header'],
    [`${bare}:8080\t`, 0, 'a tab'],
    [bare, 400, 'no port at all'],
    [':8080', 400, 'no host'],
    [':', 400, 'nothing'],
    [`user@${bare}:8080`, 400, 'user information'],
    [`user:pass@${bare}:8080`, 400, 'user information'],
    [`@${bare}:8080`, 400, 'user information'],
    [`http://${bare}:8080`, 400, 'a scheme'],
    [`//${bare}:8080`, 400, 'a network path'],
    [`${bare}:8080,${bare}:8080`, 400, 'a list'],
    [`${bare}%2e:8080`, 400, 'escapes'],
    [`[${other}%eth0]:8080`, 400, 'a zone'],
    ['[fe80::1%25eth0]:8080', 400, 'an escaped zone'],
    ['[fd99::2%eth0]:8080', 400, 'a zone'],
    ['10.99.0.2%eth0:8080', 400, 'a zone'],
    ['fd99::2:8080', 400, 'no brackets'],
    ['[fd99::2]8080', 400, 'no colon'],
    ['[fd99::2:8080', 400, 'an open bracket'],
    ['[10.99.0.2]:8080', 400, 'brackets that do not belong'],
    ['[web.demo.svc.cluster.local]:80', 400, 'brackets around a name'],
    ['010.99.0.2:8080', 400, 'leading zeros'],
    ['10.99.2:8080', 400, 'an abbreviation'],
    ['174260226:8080', 400, 'a number'],
    ['0x0a630002:8080', 503, 'a number that may be a name'],
    ['10.99.0.2.:8080', 400, 'a final dot'],
    ['localhost:8080', 503, 'a name of loopback'],
    ['LOCALHOST:8080', 503, 'the same'],
    ['server:8080', 503, 'a name that only DNS knows'],
    ['elsewhere.example:80', 503, 'a name of nobody'],
    ['client.demo.svc.cluster.local:8080', 503, 'no service'],
    ['web.demo.svc.cluster.local:81', 503, 'a port that the service does not have'],
    ['web.demo.svc.cluster.local:0', 400, 'port 0 of a service'],
    ['web.demo.svc.cluster.local.:80', 503, 'a final dot'],
    ['web.demo.svc.cluster.local', 400, 'a name alone'],
    ['*:80', 400, 'a wildcard'],
    [`${'a'.repeat(300)}.example:80`, 400, 'too long for a name'],
    ['bücher.example:80', 400, 'not ASCII'],
  ]
}

for (const family of ['v4', 'v6'] as const)
  t.test(`CONNECT to what is not the pod's own, over IP${family}`, { skip: needsRoot }, async (t) => {
    const scene = await setUp(family === 'v4' ? 'zc4' : 'zc6')
    t.teardown(scene.end)
    const { server, recorder, n2 } = scene
    const own = server[family]
    const rows = rowsOf(scene, own, family === 'v4' ? server.v6 : server.v4)
    t.ok(rows.length >= 60, `${rows.length} rows`)
    const allowed = `${own.includes(':') ? `[${own}]` : own}:8080`
    using peer = await scene.peer(own)
    for (const [authority, want, why] of rows) {
      const { status, body, ms } = await peer.ask(authority, { early: attack })
      t.equal(status, want, `${why}: ${authority.slice(0, 60)}`)
      if (body !== '' || ms > limitMs) t.fail(`${authority}: ${body.length} bytes, ${ms} ms`)
      const twin = await peer.ask(allowed, { late: 'twin' })
      if (twin.status !== 200 || twin.body !== 'twin') t.fail(`after ${authority}: ${JSON.stringify(twin)}`)
    }
    t.same(
      new Set(recorder.accepted),
      new Set(['server:8080']),
      'only the app that was allowed was connected',
    )
    t.equal(recorder.accepted.length, rows.length, 'once for each twin')
    t.equal(recorder.received, 'twin'.repeat(rows.length), 'and got only what was meant for it')

    const upper = await peer.ask('WEB.Demo.svc.cluster.local:80', { late: 'twin' })
    t.match(upper, { status: 200, body: 'twin' }, 'a name in capitals is the same name')
    for (const method of ['GET', 'POST', 'OPTIONS', 'CONNECTED', 'connect']) {
      const { status, body } = await peer.ask(allowed, { method, early: attack })
      t.same([status, body], [400, ''], `method ${method}`)
    }
    t.equal(recorder.accepted.length, rows.length + 1)
    t.notMatch(recorder.received, 'ATTACK')
    await eventually(() => n2.ztunnel.readiness.waitingFor.length === 0, 'it is well')
  })

t.test(
  'bytes sent before the answer reach nobody whom the answer refuses',
  { skip: needsRoot },
  async (t) => {
    const scene = await setUp('zce')
    t.teardown(scene.end)
    const { server, recorder, n2 } = scene
    const deny = policyResource({
      name: 'no',
      action: 'deny',
      principals: ['cluster.local/ns/demo/sa/stranger'],
    })
    using peer = await scene.peer(server.v4)
    const allowed = `${server.v4}:8080`

    const early = await peer.ask(allowed, { early: 'early ' })
    t.match(early, { status: 200, body: 'early ' }, 'where the answer is 200 they arrive')
    t.equal(recorder.received, 'early ')

    t.match(await peer.ask(`${server.v4}:9`, { early: attack }), { status: 503, body: '' }, 'nobody listens')
    await n2.pushPolicies(deny)
    t.match(await peer.ask(allowed, { early: attack }), { status: 401, body: '' }, 'a policy denies')
    const many = await Promise.all(Array.from({ length: 50 }, () => peer.ask(allowed, { early: attack })))
    t.same([...new Set(many.map(({ status }) => status))], [401])
    t.equal(recorder.received, 'early ', 'not a byte')
    t.equal(recorder.accepted.length, 1, 'and not a connection')

    await n2.pushPolicies({}, ['demo/no'])
    const after = await peer.ask(allowed, { late: 'clean' })
    t.match(after, { status: 200, body: 'clean' }, 'the connection is as good as before')
    t.equal(recorder.received, 'early clean')
  },
)
