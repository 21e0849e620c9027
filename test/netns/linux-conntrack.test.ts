import t from 'tap'
import { ip } from '#base'
import { openConntrack, openNetns } from '#linux'
import { root, World } from './cni-world.ts'
import { udpIn } from './dns-world.ts'
import { until } from '../fakes/until.ts'

t.test(
  'a redirected datagram: where it was going, by the table of its own namespace alone',
  { skip: !root && 'needs root' },
  async (t) => {
    using world = new World('conntrack')
    const { a, b } = world
    for (const [table, chain] of [
      ['iptables-nft', '10.0.0.53/32'],
      ['ip6tables-nft', 'fd00::53/128'],
    ] as const)
      world.run(
        'a',
        table,
        '-t',
        'nat',
        '-A',
        'OUTPUT',
        '-p',
        'udp',
        '-d',
        chain,
        '-j',
        'REDIRECT',
        '--to-ports',
        '15053',
      )
    using connections = openConntrack(a.netns)
    using elsewhere = openConntrack(b.netns)
    for (const [family, local, meant] of [
      ['ipv4', '127.0.0.1', '10.0.0.53'],
      ['ipv6', '::1', 'fd00::53'],
    ] as const) {
      const server = udpIn(a.netns, family, { address: ip(local), port: 15053 })
      const app = udpIn(a.netns, family)
      const seen: string[] = []
      server.on('message', (_, { address, port }) => {
        const [here, peer] = [
          { address: ip(local), port: 15053 },
          { address: ip(address), port },
        ]
        const original = connections.originalDst(here, peer)
        seen.push(`${original?.address} ${original?.port}`)
        t.equal(elsewhere.originalDst(here, peer), undefined, 'another namespace knows nothing')
        t.equal(
          connections.originalDst(here, { ...peer, port: port ^ 1 }),
          undefined,
          'nor is another port known',
        )
      })
      app.send('x', 53, meant)
      await until(() => seen.length === 1, 'redirected')
      app.send('x', 15053, local)
      await until(() => seen.length === 2, 'sent there directly')
      t.same(seen, [`${meant} 53`, 'undefined undefined'])
      app.close()
      server.close()
    }
    const closed = openConntrack(a.netns)
    closed[Symbol.dispose]()
    closed[Symbol.dispose]()
    const nobody = { address: ip('127.0.0.1'), port: 1 }
    t.equal(closed.originalDst(nobody, nobody), undefined)
    t.equal(
      connections.originalDst(nobody, { address: ip('::1'), port: 1 }),
      undefined,
      'two families are no exchange',
    )
    using own = openNetns('/proc/self/ns/net')
    t.ok(own.fd > 0, 'and we are back in our own namespace')
  },
)
