import { createHash, randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import t from 'tap'
import { codeOf } from '#base'
import { connectIn, listenIn, type PodNet } from '../fakes/pod-net.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { needsRoot, twoNodes } from '../fakes/two-nodes.ts'

/**
 * How connections end: what each side sees through the mesh is compared with what it sees without it, for scripts of
 * sending, ending and resetting. A step waits until what was sent before it has arrived, so that a reset loses nothing.
 */
type Step = `${'client' | 'server'} ${'ends' | 'resets' | `sends ${number}`}`
const scripts: readonly (readonly Step[])[] = [
  ['client ends', 'server ends'],
  ['server ends', 'client ends'],
  ['client sends 1', 'client ends', 'server ends'],
  ['client sends 1', 'client ends', 'server sends 1', 'server ends'],
  ['client sends 100000', 'client ends', 'server sends 100000', 'server ends'],
  ['server sends 1', 'server ends', 'client sends 1', 'client ends'],
  ['server sends 300000', 'server ends', 'client sends 300000', 'client ends'],
  ['client ends', 'server sends 1000', 'server sends 1000', 'server ends'],
  ['server ends', 'client sends 1000', 'client sends 1000', 'client ends'],
  ['client sends 5', 'server sends 7', 'client sends 11', 'server sends 13', 'client ends', 'server ends'],
  ['client sends 5', 'server sends 7', 'server ends', 'client sends 11', 'client ends'],
  ['client resets'],
  ['server resets'],
  ['client sends 1', 'client resets'],
  ['client sends 1', 'server resets'],
  ['server sends 70000', 'server resets'],
  ['server sends 70000', 'client resets'],
  ['client ends', 'server resets'],
  ['server ends', 'client resets'],
  ['client ends', 'server sends 9', 'server resets'],
  ['server ends', 'client sends 9', 'client resets'],
  ['client sends 9', 'client ends', 'server sends 9', 'client resets'],
]

/** One side: what it has received, and how that ended. */
class Side {
  readonly socket: Socket
  readonly #digest = createHash('sha256')
  received = 0
  sent = 0
  seen: 'nothing' | 'end' | 'reset' | 'own reset' = 'nothing'
  closed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (part: Buffer) => {
      this.received += part.length
      this.#digest.update(part)
    })
    socket.on('end', () => (this.seen = 'end'))
    socket.on('error', (error) => {
      if (this.seen !== 'own reset') this.seen = codeOf(error) === 'ECONNRESET' ? 'reset' : this.seen
    })
    socket.on('close', () => (this.closed = true))
  }

  do(action: string): void {
    const [verb, count] = action.split(' ')
    if (verb === 'ends') this.socket.end()
    else if (verb === 'resets') {
      this.seen = 'own reset'
      this.socket.resetAndDestroy()
    } else {
      this.sent += Number(count)
      this.socket.write(randomBytes(Number(count)))
    }
  }
}

const ended = (side: Side) => side.seen !== 'nothing' || side.closed

async function play(script: readonly Step[], from: PodNet, host: string, accepted: () => Promise<Socket>) {
  const waiting = accepted()
  const client = new Side(await connectIn(from.netns, host, 8080))
  const server = new Side(await waiting)
  const sides = { client, server }
  const delivered = () => client.received >= server.sent && server.received >= client.sent
  for (const step of script) {
    const [who = '', ...action] = step.split(' ')
    const [actor, other] = who === 'client' ? [client, server] : [server, client]
    actor.do(action.join(' '))
    await eventually(delivered, `delivered: ${step} in ${script.join(', ')}`)
    if (action[0] !== 'sends') await eventually(() => ended(other), `noticed: ${step}`)
  }
  const outcome = Object.entries(sides).map(([name, side]) => `${name} got ${side.received}, ${side.seen}`)
  client.socket.destroy()
  server.socket.destroy()
  return outcome.join('; ')
}

t.test('connections end through the mesh as they do without it', { skip: needsRoot }, async (t) => {
  const { world, client, server, stranger } = await twoNodes('zen')
  const outside = world.network.pod('outside', 9)
  const arrivals: Socket[] = []
  const apps = await Promise.all(
    [server, stranger].map(({ netns }) => listenIn(netns, 8080, (socket) => arrivals.push(socket))),
  )
  t.teardown(async () => {
    for (const app of apps) app.close()
    await world[Symbol.asyncDispose]()
  })
  const accepted = async () => {
    arrivals.length = 0
    await eventually(() => arrivals.length > 0, 'the app is reached')
    const [socket] = arrivals
    if (!socket) throw new Error('none')
    return socket
  }
  for (const script of scripts) {
    const direct = await play(script, outside, stranger.v4, accepted)
    const name = script.join(', ')
    t.equal(await play(script, stranger, server.v4, accepted), direct, `in, plaintext: ${name}`)
    t.equal(await play(script, client, stranger.v6, accepted), direct, `out, plaintext: ${name}`)
    t.equal(await play(script, client, server.v4, accepted), direct, `HBONE: ${name}`)
  }
})
