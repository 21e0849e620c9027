import t from 'tap'
import { applyPodRules, verifyPodRules } from '../../cni/rules/index.ts'
import { backends, everything, root, rules, World } from './cni-world.ts'

t.setTimeout(300_000) // many short programs, on machines that do other things too

const signal = AbortSignal.timeout(300_000)

for (const [name, backend] of Object.entries(backends)) {
  t.test(`verification by ${name}`, { skip: !root && 'needs root' }, async (t) => {
    using world = new World(`cniv-${name.slice(-4)}`)
    const place = { netns: world.a.netns, backend, signal }
    t.not((await verifyPodRules(place, rules)).length, 0, 'nothing there is a difference')
    await applyPodRules(place, rules)
    t.same(await verifyPodRules(place, rules), [])
    const once = everything(world, 'a', backend)
    await applyPodRules(place, rules)
    await applyPodRules(place, rules)
    t.equal(everything(world, 'a', backend), once, 'three times is as good as once')

    const damages =
      backend.kind === 'nftables'
        ? [
            ['nft', 'flush', 'chain', 'inet', 'istio-ambient-nat', 'istio-output'],
            ['nft', 'delete', 'table', 'inet', 'istio-ambient-mangle'],
            ['nft', 'flush', 'ruleset'],
          ]
        : [
            [
              `iptables-${backend.kind === 'iptables' ? backend.variant : ''}`,
              '-t',
              'nat',
              '-F',
              'ISTIO_OUTPUT',
            ],
            [
              `ip6tables-${backend.kind === 'iptables' ? backend.variant : ''}`,
              '-t',
              'nat',
              '-I',
              'ISTIO_PRERT',
              '-j',
              'RETURN',
            ],
            [
              `iptables-${backend.kind === 'iptables' ? backend.variant : ''}`,
              '-t',
              'mangle',
              '-D',
              'OUTPUT',
              '-j',
              'ISTIO_OUTPUT',
            ],
          ]
    damages.push(['ip', 'rule', 'del', 'pref', '32764'], ['ip', '-6', 'route', 'flush', 'table', '100'])
    for (const damage of damages) {
      world.run('a', ...damage)
      t.not((await verifyPodRules(place, rules)).length, 0, `seen: ${damage.join(' ')}`)
      await applyPodRules(place, rules)
      t.same(await verifyPodRules(place, rules), [], 'repaired')
      t.equal(everything(world, 'a', backend), once)
    }
    for (const other of [
      { dnsCapture: true },
      { dnsCapture: true, ipv6: false },
      { ingressMode: true },
      { ipv6: false },
      { virtualInterfaces: ['eth9'] },
      { phase: 'joining' },
      { phase: 'leaving' },
    ] as const) {
      await applyPodRules(place, { ...rules, ...other })
      t.same(await verifyPodRules(place, { ...rules, ...other }), [], JSON.stringify(other))
      t.not((await verifyPodRules(place, rules)).length, 0)
    }
    await applyPodRules(place, rules)
    t.same(await verifyPodRules(place, rules), [], 'and back')
    world.run('a', 'ip', 'link', 'set', 'lo', 'down')
    await t.rejects(applyPodRules(place, rules), /lo is down/)
  })
}
