import t from 'tap'
import { ip } from '#base'
import { applyPodRules, removePodRules, wire } from '../../cni/rules/index.ts'
import { HostRules } from '../../cni/rules/host.ts'
import {
  ask,
  backends,
  call,
  dialFrom,
  everything,
  listenIn,
  root,
  rules,
  type Seen,
  World,
} from './cni-world.ts'

t.setTimeout(300_000) // many short programs, on machines that do other things too

const signal = AbortSignal.timeout(300_000)

for (const [name, backend] of Object.entries(backends)) {
  t.test(`in-pod redirection by ${name}`, { skip: !root && 'needs root' }, async (t) => {
    using world = new World(`cni-${name.slice(-4)}`)
    const { a, b, node } = world
    const place = (netns: typeof node) => ({ netns, backend, signal })
    const seen: Seen[] = []
    const take = () => seen.splice(0)
    using _app = await listenIn(b.netns, 'app', 80, seen)
    using _appA = await listenIn(a.netns, 'app-a', 80, seen)
    using _out = await listenIn(a.netns, 'outbound', 15001, seen, { mark: wire.proxyMark })
    using _in = await listenIn(b.netns, 'inbound', 15006, seen, { mark: wire.proxyMark })
    using _hbone = await listenIn(b.netns, 'hbone', 15008, seen, { mark: wire.proxyMark })
    const families = [
      { v: 'IPv4', from: a.ipv4, to: b.ipv4, node: '10.244.1.1', probe: wire.probe.ipv4, lo: '127.0.0.1' },
      { v: 'IPv6', from: a.ipv6, to: b.ipv6, node: 'fd00:10:244:1::1', probe: wire.probe.ipv6, lo: '::1' },
    ]
    const before = { a: everything(world, 'a', backend), b: everything(world, 'b', backend) }
    for (const { to } of families) t.equal(await call(a.netns, to, 80), 'app', 'uncaptured at first')
    take()

    await applyPodRules(place(a.netns), rules)
    await applyPodRules(place(b.netns), rules)

    for (const { v, from, to, probe, node: gate, lo } of families) {
      t.equal(await call(a.netns, to, 80), 'outbound', `${v}: a connection of the app goes to 15001`)
      t.same(take(), [{ by: 'outbound', local: `${lo} 15001`, peer: from, meant: `${to} 80` }])
      t.equal(await call(a.netns, to, 15008), 'outbound', `${v}: also one to an HBONE port`)
      take()

      t.equal(
        await call(a.netns, to, 80, { mark: wire.proxyMark }),
        'inbound',
        `${v}: plaintext from elsewhere goes to 15006`,
      )
      t.match(take(), [{ by: 'inbound', peer: from, meant: `${to} 80` }])
      t.equal(
        await call(a.netns, to, 15008, { mark: wire.proxyMark }),
        'hbone',
        `${v}: HBONE is not redirected`,
      )
      t.match(take(), [{ by: 'hbone', local: `${to} 15008`, meant: `${to} 15008` }])

      t.equal(
        await call(b.netns, to, 80, { mark: wire.proxyMark, from }),
        'app',
        `${v}: ztunnel reaches the app`,
      )
      t.match(take(), [{ by: 'app', peer: from, local: `${to} 80` }], `${v}: which sees the client's address`)

      t.equal(await call(b.netns, to, 80), 'app', `${v}: a pod reaches its own address directly`)
      t.equal(await call(a.netns, lo, 80), 'app-a', `${v}: and its loopback`)
      take()

      t.equal(await call(node, to, 80), 'inbound', `${v}: what comes from the node is captured`)
      t.match(take(), [{ peer: gate }])
      t.equal(
        await call(node, to, 80, { from: probe, timeoutMs: 200 }),
        'timeout',
        `${v}: the probe address has no way back but by SNAT`,
      )
      take()
    }

    const host = new HostRules({ backend, ipv6: true, kubeletUid: 0, netns: node })
    const beforeHost = everything(world, 'node', backend)
    await host.setUp(signal)
    await host.setUp(signal)
    t.same(await host.verify(signal), [])
    await host.put('uid-b', [ip(b.ipv4), ip(b.ipv6)], signal)
    for (const { v, to, probe } of families) {
      t.equal(await call(node, to, 80), 'app', `${v}: a probe of an enrolled pod reaches the app itself`)
      t.match(take(), [{ by: 'app', peer: probe }])
    }
    await host.remove('another-uid', signal)
    t.equal(await call(node, b.ipv4, 80), 'app', 'only the owner of an address can take it out')
    await host.put('uid-c', [ip(b.ipv4)], signal)
    await host.remove('uid-b', signal)
    t.equal(await call(node, b.ipv4, 80), 'app', 'an address that changed hands stays')
    t.equal(await call(node, b.ipv6, 80), 'inbound', 'the one that did not is out')
    await host.sync([], signal)
    t.equal(await call(node, b.ipv4, 80), 'inbound', 'sync leaves only what it is given')
    await host.tearDown(signal)
    if (!name.startsWith('iptables'))
      t.equal(everything(world, 'node', backend), beforeHost, 'nothing is left on the node')
    t.notMatch(everything(world, 'node', backend), /istio/i)

    await removePodRules(place(a.netns))
    await removePodRules(place(b.netns))
    await removePodRules(place(b.netns))
    if (name !== 'iptables-legacy')
      t.same({ a: everything(world, 'a', backend), b: everything(world, 'b', backend) }, before)
    t.notMatch(everything(world, 'a', backend) + everything(world, 'b', backend), /ISTIO|0x111|istio/)
    for (const { to } of families) t.equal(await call(a.netns, to, 80), 'app', 'uncaptured again')
  })
}

t.test(
  'connections that exist when a pod joins or leaves go on',
  { skip: !root && 'needs root' },
  async (t) => {
    for (const [name, backend] of Object.entries(backends)) {
      using world = new World(`cnij-${name.slice(-4)}`)
      const { a, b } = world
      const seen: Seen[] = []
      using _app = await listenIn(b.netns, 'app', 80, seen)
      using _out = await listenIn(a.netns, 'outbound', 15001, seen, { mark: wire.proxyMark })
      using _in = await listenIn(b.netns, 'inbound', 15006, seen, { mark: wire.proxyMark })
      const place = (netns: typeof a.netns) => ({ netns, backend, signal })
      const old = dialFrom(a.netns, b.ipv4, 80)
      t.equal(await ask(old), 'app')
      for (const pod of [a, b]) await applyPodRules(place(pod.netns), { ...rules, phase: 'joining' })
      t.equal(await ask(old), 'app', `${name}: joining leaves a connection alone`)
      const fresh = dialFrom(a.netns, b.ipv4, 80)
      t.equal(await ask(fresh), 'outbound', `${name}: and captures new ones`)
      for (const pod of [a, b]) await applyPodRules(place(pod.netns), rules)
      t.equal(await ask(old), 'app', `${name}: full capture too, once the kernel knows the connection`)
      t.equal(await ask(fresh), 'outbound')
      for (const pod of [a, b]) await applyPodRules(place(pod.netns), { ...rules, phase: 'leaving' })
      t.equal(await ask(fresh), 'outbound', `${name}: leaving keeps the tunnels in flight`)
      t.equal(await call(a.netns, b.ipv4, 80), 'app', `${name}: and captures nothing new`)
      old.destroy()
      fresh.destroy()
    }
  },
)
