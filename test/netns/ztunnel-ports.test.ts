import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { Socket } from 'node:net'
import t from 'tap'
import { ip } from '#base'
import { bindSocket, tcpSocket } from '#linux'
import { eventually } from '../fakes/mesh-world.ts'
import { type PodNet, talk } from '../fakes/pod-net.ts'
import { echoIn, needsRoot, twoNodes } from '../fakes/two-nodes.ts'

t.setTimeout(300_000)
const peerPort = 40_000

/** A connection to the app of `to` from a port that we choose. */
async function connectFrom({ netns, v4, v6 }: PodNet, port: number, to: PodNet, family: 'ipv4' | 'ipv6') {
  const fd = tcpSocket({ netns, family, reuseAddress: true })
  bindSocket(fd, { address: ip(family === 'ipv4' ? v4 : v6), port })
  const socket = new Socket({ fd, allowHalfOpen: true })
  socket.on('error', () => undefined)
  socket.connect({ host: family === 'ipv4' ? to.v4 : to.v6, port: 8080 })
  await once(socket, 'connect', { signal: AbortSignal.timeout(20_000) })
  return socket
}

t.test(
  'an app is shown its peer’s address, and never by a port of the peer’s: that connection would be lost',
  { skip: needsRoot },
  async (t) => {
    const { world, stranger, server } = await twoNodes('zpo')
    const app = await echoIn(server)
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    // What the kernel would choose in the pod of the app is the one port that the peer has there already.
    const pod = world.network.fabric.replace(/fab$/, 'server')
    const range = `net.ipv4.ip_local_port_range=${peerPort} ${peerPort + 1}`
    execFileSync('ip', ['netns', 'exec', pod, 'sysctl', '-qw', range])
    for (const family of ['ipv4', 'ipv6'] as const) {
      const held = await connectFrom(stranger, peerPort, server, family)
      let heard = ''
      held.on('data', (part: Buffer) => (heard += part.toString()))
      held.write('a')
      const seen = stranger[family === 'ipv4' ? 'v4' : 'v6']
      await eventually(() => heard === `${seen} a`, 'the app sees who it is')
      for (let n = 1; n <= 20; n++)
        t.match(await talk(await connectFrom(stranger, peerPort + n, server, family), 'x'), / x$/)
      held.write('b')
      await eventually(() => heard === `${seen} ab`, 'the first connection goes on')
      t.pass(family)
      held.destroy()
    }
  },
)
