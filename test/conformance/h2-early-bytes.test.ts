// H2-10 and H2-11 of facts/security.md §2.1: bytes that come with a CONNECT, and what an authority may look like.
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { ip } from '#base'
import type { InboundTunnel } from '#hbone'
import type { Field } from '../../lib/hbone/hpack/decode.ts'
import { hpackEncode } from '../../lib/hbone/hpack/encode.ts'
import { headers, hello, type } from '../lib/hbone/frames.ts'
import { dial, never, serve } from '../lib/hbone/support.ts'
import { connectOnly, hasStatus, isProbed, probePing, rawClient } from './h2-kit.ts'
import { text } from './h2-rows/requests.ts'

const to = (authority: string, ...more: Field[]) =>
  hpackEncode([[':method', 'CONNECT'], [':authority', authority], ...more])

/** An upstream that records all that reaches it. */
async function upstream(t: Test) {
  const received: string[] = []
  const listener = createServer((socket: Socket) => {
    const at = received.push('') - 1
    socket.on('data', (bytes) => (received[at] += bytes.toString('latin1')))
    socket.on('error', () => undefined)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => void listener.close())
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('no address')
  return { received, address: { address: ip('127.0.0.1'), port: address.port } }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

t.test('H2-10 bytes that came with a CONNECT that is denied or fails reach no upstream', async (t) => {
  const { received, address } = await upstream(t)
  const answers: Record<string, (tunnel: InboundTunnel) => Promise<void>> = {
    'denied:80': async (tunnel) => tunnel.refuse(401),
    'late:80': async (tunnel) => {
      await pause(20)
      tunnel.refuse(401)
    },
    'broken:80': async (tunnel) => {
      const socket = await dial(address)
      tunnel.refuse(503)
      socket.destroy()
    },
    'good:80': async (tunnel) => {
      const socket = await dial(address)
      tunnel.accept()
      await tunnel.forward(socket, never)
    },
  }
  const served = await serve(t, (tunnel) => void answers[tunnel.authority]?.(tunnel))
  const wire = await rawClient(t, served)
  const names = ['denied:80', 'late:80', 'broken:80', 'good:80']
  wire.send([
    hello,
    ...names.map((name, i) =>
      Buffer.concat([headers(2 * i + 1, 0, to(name)), text(2 * i + 1, `for ${name};`)]),
    ),
    text(1, 'more;'),
    text(7, 'more;'),
    probePing,
  ])
  const answered = (all: Parameters<typeof hasStatus>[0]) =>
    [1, 3, 5, 7].every((id) => all.some((one) => one.type === type.headers && one.id === id))
  const { frames, closed } = await wire.frames((all) => isProbed(all) && answered(all))
  t.notOk(closed, 'the connection goes on')
  t.ok(hasStatus(frames, 7, 200))
  wire.send([headers(9, 0, to('good:80')), text(9, 'second', 1)])
  const deadline = Date.now() + 20_000
  const isThere = (text: string) => received.includes(text)
  while (!['for good:80;more;', 'second'].every(isThere) && Date.now() < deadline) await pause(5)
  t.strictSame(
    received.filter((one) => one !== '').sort(),
    ['for good:80;more;', 'second'],
    'each tunnel has its own bytes, complete, and nothing else came',
  )
})

const rows: readonly (readonly [authority: string, expect: 'seen' | 'reset', host?: string])[] = [
  ['10.0.0.1:80', 'seen'],
  ['[fd00::1]:80', 'seen'],
  ['web.demo.svc.cluster.local:80', 'seen'],
  ['WEB.demo:80', 'seen'],
  ['web.demo.:80', 'seen'],
  ['10.0.0.1', 'seen'],
  ['10.0.0.1:', 'seen'],
  ['10.0.0.1:0', 'seen'],
  ['10.0.0.1:65536', 'seen'],
  ['10.0.0.1:080', 'seen'],
  ['10.0.0.1:80:80', 'seen'],
  [':80', 'seen'],
  ['user@10.0.0.1:80', 'seen'],
  ['user:pass@10.0.0.1:80', 'seen'],
  ['[fe80::1%eth0]:80', 'seen'],
  ['[::ffff:10.0.0.1]:80', 'seen'],
  ['0x0a000001:80', 'seen'],
  ['167772161:80', 'seen'],
  ['10.1:80', 'seen'],
  ['http://10.0.0.1:80', 'seen'],
  ['10.0.0.1:80/path', 'seen'],
  ['10.0.0.1:80?query', 'seen'],
  ['10.0.0.1:80#part', 'seen'],
  ['10.0.0.1:80,10.0.0.2:80', 'seen'],
  ['%31%30.0.0.1:80', 'seen'],
  ['w\xe9b:80', 'seen'],
  ['a b:80', 'seen'],
  ['', 'reset'],
  [' 10.0.0.1:80', 'reset'],
  ['10.0.0.1:80 ', 'reset'],
  ['10.0.0.1:80\t', 'reset'],
  ['10.0.0.1\0:80', 'reset'],
  ['10.0.0.1\r\n:80', 'reset'],
  ['10.0.0.1\n:80', 'reset'],
  ['10.0.0.1\x7f:80', 'reset'],
  ['10.0.0.1\x01:80', 'reset'],
  ['x'.repeat(60_000), 'seen'],
  ['x'.repeat(65_536), 'reset'],
  ['10.0.0.1:80', 'seen', '10.0.0.1:80'],
  ['10.0.0.1:80', 'reset', '10.0.0.2:80'],
  ['10.0.0.1:80', 'reset', '10.0.0.1'],
  ['10.0.0.1:80', 'reset', '10.0.0.1:80,10.0.0.2:80'],
  ['web:80', 'reset', 'WEB:80'],
  ['10.0.0.1:80', 'reset', ''],
]
t.test('H2-11 an authority is a reset, or reaches everybody exactly as it was sent', async (t) => {
  t.ok(rows.length >= 40)
  for (const [authority, expect, host] of rows) {
    const title = `${JSON.stringify(authority.slice(0, 40))}${host === undefined ? '' : ` and host ${host}`}: ${expect}`
    t.test(title, async (t) => {
      const served = await serve(t, connectOnly)
      const wire = await rawClient(t, served)
      const more: Field[] = host === undefined ? [] : [['host', host]]
      wire.send([hello, headers(1, 0, to(authority, ...more)), probePing])
      const { closed } = await wire.frames(isProbed)
      const seen = served.tunnels.map((tunnel) => tunnel.authority)
      if (expect === 'seen') t.ok(seen.length === 1 && seen[0] === authority)
      else t.strictSame([seen, served.connections[0]?.tunnels ?? 0], [[], 0])
      if (authority.length < 65_536) t.notOk(closed)
    })
  }
})
