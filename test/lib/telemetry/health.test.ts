import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
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
