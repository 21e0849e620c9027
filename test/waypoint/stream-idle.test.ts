import { once } from 'node:events'
import http from 'node:http'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import type { Permit, Permits } from '../../waypoint/permits.ts'
import { StreamIdle } from '../../waypoint/stream-idle.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { scene, upstreamOf } from './kit.ts'

t.test('what has moved in time goes on, what has not is told once', async (t) => {
  const ended: string[] = []
  const moved = { busy: 0, quiet: 0 }
  const permits = Object.keys(moved).map((name) => ({
    what: {
      stream: {
        moved: () => moved[name as keyof typeof moved],
        stalled: () => void ended.push(name),
      },
    },
  })) as unknown as Permit[]
  const others = [{ what: {} }] as unknown as Permit[]
  let now = 0
  const all = [...permits, ...others]
  const idle = new StreamIdle({ all: () => all.values() as ReturnType<Permits['all']> }, 1_000, () => now)
  t.teardown(() => idle[Symbol.dispose]())
  for (now = 0; now < 1_000; now += 100) {
    moved.busy++
    idle.look()
  }
  t.strictSame(ended, [], 'not before its time')
  idle.look()
  t.strictSame(ended, ['quiet'])
})

t.test('requests that stand still end, and say why; a WebSocket may be quiet', async (t) => {
  let left = 0
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    response.on('close', () => left++)
    request.resume()
    if (request.url === '/stream') response.write('first')
  })
  a.server.on('upgrade', (_, socket: Socket) => {
    socket.on('error', () => undefined)
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
    socket.on('data', (bytes: Buffer) => socket.write(bytes))
  })
  const s = await scene(t, { a }, { STREAM_IDLE_TIMEOUT: '300ms' })
  const port = await s.front()
  const socket = connect({ host: '127.0.0.1', port }).on('error', () => undefined)
  socket.write(
    'GET /ws HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  t.match(String((await once(socket, 'data'))[0]), / 101 /)
  t.match(await s.get('/waits'), { status: 504, body: 'stream timeout' })
  const half = connect({ host: '127.0.0.1', port }).on('error', () => undefined)
  half.write('POST /half HTTP/1.1\r\nhost: web\r\ncontent-length: 10\r\n\r\nhalf')
  t.match(String((await once(half, 'data'))[0]), /^HTTP\/1\.1 408 /)
  half.destroy()
  const request = http.get({
    host: '127.0.0.1',
    port,
    path: '/stream',
    agent: false,
    headers: { host: 'web' },
  })
  request.on('error', () => undefined)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.on('error', () => undefined)
  const ended = new Promise((resolve) => response.once('close', resolve))
  response.resume()
  await ended
  t.equal(response.complete, false, 'its client can tell')
  await eventually(() => left === 3, 'the application is told')
  await eventually(() => s.lines().length === 3, 'each is logged')
  for (const line of s.lines()) t.match(line, / (504|408|200) SI stream_idle_timeout /)
  socket.write('still here')
  t.equal(String((await once(socket, 'data'))[0]), 'still here')
  socket.destroy()
})
