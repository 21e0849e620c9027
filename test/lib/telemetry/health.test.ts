import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect, Server, type Socket } from 'node:net'
import t from 'tap'
import { Readiness, readinessRoute, serveHttp } from '#telemetry'

t.test('whoever holds many connections loses the oldest, and a probe is answered', async (t) => {
  await using server = await serveHttp(
    { port: 0, host: '127.0.0.1' },
    { 'GET /healthz/ready': readinessRoute(new Readiness()) },
  )
  const held: Socket[] = []
  t.teardown(() => held.forEach((socket) => socket.destroy()))
  const open = async () => {
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => undefined)
    held.push(socket)
    await once(socket, 'connect')
    return socket.resume()
  }
  const oldest = await open()
  const closed = once(oldest, 'close')
  for (let n = 1; n < 256; n++) await open()
  t.equal((await fetch(`http://127.0.0.1:${server.port}/healthz/ready`)).status, 200)
  await closed
  t.equal(held.filter((socket) => socket.destroyed).length, 1, 'and only it')
})

t.test('a connection that could not be accepted is lost, and nothing else', async (t) => {
  let found: Server | undefined
  const opened = (message: unknown) => {
    if (typeof message === 'object' && message !== null && 'server' in message) found ??= serverIn(message)
  }
  subscribe('http.server.request.start', opened)
  t.teardown(() => unsubscribe('http.server.request.start', opened))
  const routes = { 'GET /': () => ({ status: 200, body: 'here' }) }
  await using server = await serveHttp({ port: 0, host: '127.0.0.1' }, routes)
  const ask = async () => (await fetch(`http://127.0.0.1:${server.port}/`)).text()
  t.equal(await ask(), 'here')
  // What Node does when the process is out of descriptors.
  t.ok(found?.emit('error', new Error('accept EMFILE')), 'somebody listens')
  t.equal(await ask(), 'here')
})

const serverIn = ({ server }: { server: unknown }) => (server instanceof Server ? server : undefined)
