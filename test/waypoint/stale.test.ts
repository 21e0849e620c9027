import type { Socket } from 'node:net'
import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { rule, scene, tcpUpstream } from './kit.ts'

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

/** An endpoint that answers the first request of a connection, and closes it when there is another. */
const forgetful = async (t: Parameters<typeof tcpUpstream>[0], first: (socket: Socket) => void) => {
  const seen: string[] = []
  const upstream = await tcpUpstream(t, '127.0.0.2', (socket) => {
    let requests = 0
    socket.on('data', (bytes: Buffer) => {
      const text = bytes.toString()
      seen.push(text.slice(0, text.indexOf(' HTTP/1.1')))
      if (++requests === 1) first(socket)
      else socket.destroy()
    })
  })
  return { upstream, seen }
}

for (const [method, send, expected, requests] of [
  ['GET', undefined, 200, 3],
  ['HEAD', undefined, 200, 3],
  ['POST', 'body', 503, 2],
  ['DELETE', undefined, 503, 2],
] as const)
  t.test(`${method} on a kept connection that is closing: ${expected}`, async (t) => {
    const { upstream, seen } = await forgetful(t, (socket) => socket.write(ok))
    const s = await scene(t, { a: upstream })
    // Without retries of the rule.
    await s.route({ http: [rule()] })
    t.match(await s.get('/1'), { status: 200 })
    const got = await s.get('/2', { method, ...(send === undefined ? {} : { send }) })
    t.equal(got.status, expected)
    t.equal(seen.length, requests)
    t.same(seen.slice(1), Array(requests - 1).fill(`${method} /2`))
    await eventually(() => s.lines().length === 2, 'each request has one line')
    t.match(s.lines()[1], expected === 200 ? / 200 - via_upstream / : / 503 UC /)
  })

t.test('a connection that is new and ends at once is not stale: nothing is repeated', async (t) => {
  const { upstream, seen } = await forgetful(t, (socket) => socket.destroy())
  const s = await scene(t, { a: upstream })
  await s.route({ http: [rule()] })
  t.equal((await s.get('/1')).status, 503)
  t.equal(seen.length, 1)
})

t.test('it is repeated once', async (t) => {
  let connections = 0
  const upstream = await tcpUpstream(t, '127.0.0.2', (socket) => {
    const answers = ++connections === 1
    socket.once('data', () => {
      if (answers) socket.write(ok)
      else socket.destroy()
      socket.on('data', () => socket.destroy())
    })
  })
  const s = await scene(t, { a: upstream })
  await s.route({ http: [rule()] })
  t.equal((await s.get('/1')).status, 200)
  t.equal((await s.get('/2')).status, 503)
  t.equal(connections, 2)
})
