import t from 'tap'
import { security } from '#wire'
import { eventually, type WorldNode } from '../fakes/mesh-world.ts'
import { connectIn, listenIn, talk } from '../fakes/pod-net.ts'
import { needsRoot, twoNodes } from '../fakes/two-nodes.ts'

const skip = needsRoot
const presence: security.StringMatch = { matchType: { $case: 'presence', value: {} } }

type Shown = { src: string; originalDst: string | null; actualDst: string; protocol: string }
const connectionsOf = async (
  node: WorldNode,
  pod: string,
): Promise<{ inbound: Shown[]; outbound: Shown[] }> => {
  const answer = await fetch(`http://127.0.0.1:${node.ztunnel.ports.admin}/config_dump`)
  const dump = (await answer.json()) as { workloadState: Record<string, { connections: never }> }
  return dump.workloadState[`uid-${pod}`]?.connections ?? { inbound: [], outbound: [] }
}

t.test('istioctl sees every open connection from both sides', { skip }, async (t) => {
  const { world, n1, n2, client, server, stranger } = await twoNodes('zad')
  const apps = await Promise.all(
    [server, stranger].map(({ netns }) => listenIn(netns, 8080, (socket) => socket.pipe(socket))),
  )
  t.teardown(async () => {
    for (const app of apps) app.close()
    await world[Symbol.asyncDispose]()
  })
  const sockets = [
    await connectIn(client.netns, server.v4, 8080),
    await connectIn(client.netns, stranger.v4, 8080),
    await connectIn(stranger.netns, server.v4, 8080),
  ]
  for (const socket of sockets) socket.on('error', () => undefined)
  const all = async () => {
    const { outbound } = await connectionsOf(n1, 'client')
    const { inbound } = await connectionsOf(n2, 'server')
    return outbound.length === 2 && inbound.length === 2
  }
  await eventually(all, 'both sides show both of theirs')
  const { outbound } = await connectionsOf(n1, 'client')
  const byProtocol = (a: Shown, b: Shown) => (a.protocol < b.protocol ? -1 : 1)
  t.match(outbound.sort(byProtocol), [
    { originalDst: `${server.v4}:8080`, actualDst: `${server.v4}:15008`, protocol: 'HBONE' },
    { originalDst: `${stranger.v4}:8080`, actualDst: `${stranger.v4}:8080`, protocol: 'TCP' },
  ])
  const { inbound } = await connectionsOf(n2, 'server')
  t.match(inbound.sort(byProtocol), [
    { originalDst: null, actualDst: `${server.v4}:8080`, protocol: 'HBONE' },
    { originalDst: `${server.v4}:8080`, actualDst: `${server.v4}:8080`, protocol: 'TCP' },
  ])
  t.ok(inbound.some(({ src }) => src.startsWith(`${client.v4}:`)))
  t.ok(inbound.some(({ src }) => src.startsWith(`${stranger.v4}:`)))
  for (const pod of [client, server, stranger])
    for (const address of ['127.0.0.1', '::1'])
      await t.rejects(connectIn(pod.netns, address, n2.ztunnel.ports.admin), 'no pod reaches the admin port')
  for (const socket of sockets) socket.destroy()
  await eventually(async () => (await connectionsOf(n2, 'server')).inbound.length === 0, 'they are gone')
})

t.test('a policy on trial refuses nobody, and is counted', { skip }, async (t) => {
  const { world, n2, client, server, stranger } = await twoNodes('zdr')
  const app = await listenIn(server.netns, 8080, (socket) => socket.pipe(socket))
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const match = { ...security.Match.decode(new Uint8Array()), notPrincipals: [presence] }
  const strict = {
    name: 'strict',
    namespace: 'demo',
    scope: security.Scope.NAMESPACE,
    action: security.Action.DENY,
    rules: [{ clauses: [{ matches: [match] }] }],
    dryRun: true,
    extensions: [],
  }
  await n2.pushPolicies({ 'demo/strict': { bytes: security.Authorization.encode(strict).finish() } })
  for (const from of [client, stranger, stranger])
    t.equal(await talk(await connectIn(from.netns, server.v4, 8080), 'x'), 'x')
  const metrics = await n2.ztunnel.registry.metrics()
  t.match(metrics, 'lateen_policy_dry_run_total{policy="demo/strict",outcome="would-deny"} 2\n')
  t.match(metrics, 'lateen_policies{readable="true"} 1\n')
  t.notMatch(metrics, /response_flags="DENY"/)
})
