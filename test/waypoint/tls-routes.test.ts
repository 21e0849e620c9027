import { once } from 'node:events'
import { type AddressInfo, createServer as createTcp } from 'node:net'
import { connect, createServer } from 'node:tls'
import t, { type Test } from 'tap'
import { maxHelloBytes, serverNameOf } from '../../waypoint/proxy/server-name.ts'
import { createTestCa } from '../fakes/test-ca.ts'
import { scene, toWeb } from './kit.ts'

const ca = createTestCa()

/** What a client sends first. */
async function helloOf(servername: string | undefined): Promise<Buffer> {
  const server = createTcp()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connect({ host: '127.0.0.1', port, ...(servername === undefined ? {} : { servername }) })
  client.on('error', () => undefined)
  const [socket] = await once(server, 'connection')
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  client.destroy()
  server.close()
  return bytes
}

t.test('the name in a client hello, in however many pieces it comes', async (t) => {
  const hello = await helloOf('a.example')
  t.same(serverNameOf(hello), { kind: 'name', name: 'a.example' })
  t.same(serverNameOf(await helloOf(undefined)), { kind: 'name', name: '' }, 'no name')
  for (let n = 0; n < hello.length; n++)
    if (serverNameOf(hello.subarray(0, n)).kind !== 'more')
      t.fail(`decided after ${n} of ${hello.length} bytes`)
  t.same(serverNameOf(Buffer.from('GET / HTTP/1.1\r\n')), { kind: 'name', name: '' }, 'no TLS')
  t.same(serverNameOf(Buffer.from('160301ffff01ffffff', 'hex')), { kind: 'name', name: '' }, 'too long')
  let state = 7
  for (let i = 0; i < 20_000; i++) {
    const copy = Buffer.from(hello)
    for (let j = 0; j < 3; j++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
      copy[state % copy.length] = state >> 16
    }
    serverNameOf(copy) // whatever it says, it says it
  }
  t.ok(maxHelloBytes > hello.length)
})

async function tlsUpstream(t: Test, host: string, text: string) {
  const { certPem, keyPem } = ca.server()
  const server = createServer({ cert: certPem, key: keyPem }, (socket) => void socket.end(text))
  server.on('tlsClientError', () => undefined)
  server.listen(0, host)
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { address: host, port: (server.address() as AddressInfo).port }
}

t.test('TLS goes where its name says, unopened', async (t) => {
  const a = await tlsUpstream(t, '127.0.0.2', 'hello')
  const s = await scene(t, { a })
  const origin = { kind: 'TLSRoute', name: 'demo/tls' } as const
  const l4 = [
    { name: 'tls', origin, match: { sni: ['*.example'] }, destinations: [{ weight: 1, to: toWeb }] },
  ]
  for (const protocol of ['tls', 'auto'] as const) {
    await s.route({ protocol, l4 })
    const talk = async (servername: string) => {
      const socket = connect({
        host: '127.0.0.1',
        port: await s.front(),
        servername,
        rejectUnauthorized: false,
      })
      const parts: string[] = []
      socket.on('data', (part: Buffer) => parts.push(part.toString()))
      socket.on('error', () => undefined)
      await new Promise<void>((resolve) => socket.once('close', () => resolve()))
      return parts.join('')
    }
    t.equal(await talk('a.example'), 'hello', `${protocol}: a name that a rule has`)
    t.equal(await talk('a.elsewhere'), '', `${protocol}: another one`)
  }
})
