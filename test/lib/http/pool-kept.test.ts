import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import t from 'tap'
import { HttpPool } from '#http'
import { idleMsOf, type Kept } from '../../../lib/http/pool-slot.ts'
import { until } from '../../fakes/until.ts'
import { destinationOf, get, listen, told } from './support.ts'

const signal = new AbortController().signal

t.test('a connection is given up before a server that says so closes it', async (t) => {
  const says = ['timeout=1', 'max=100, timeout=1', 'timeout=600', 'timeout=x', 'max=5', '']
  const pool = new HttpPool()
  t.teardown(() => pool.close())
  const sockets: Socket[] = []
  const ended: string[] = []
  for (const text of says) {
    // It never closes a connection itself.
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket)
      const field = text === '' ? '' : `Keep-Alive: ${text}\r\n`
      socket.on('data', () => socket.write(`HTTP/1.1 200 OK\r\n${field}Content-Length: 2\r\n\r\nok`))
      socket.on('end', () => ended.push(text))
    })
    const port = await listen(t, server)
    t.equal(
      await told(await pool.send(destinationOf(port, 'HTTP/1.1'), get('/'), undefined, { signal })),
      'ok',
    )
  }
  await until(() => ended.length >= 2, 'those of a second have ended')
  t.same(ended.toSorted(), ['max=100, timeout=1', 'timeout=1'])
  t.equal(sockets.length, says.length)
})

t.test('what a server says counts from its last answer, and not while it is asked', async (t) => {
  const pool = new HttpPool()
  t.teardown(() => pool.close())
  const sockets: Socket[] = []
  let asked = 0
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    socket.on('data', () => asked++)
  })
  const to = destinationOf(await listen(t, server), 'HTTP/1.1')
  const send = () => pool.send(to, get('/'), undefined, { signal })
  const answer = (seconds: number) =>
    sockets[0]?.write(`HTTP/1.1 200 OK\r\nKeep-Alive: timeout=${seconds}\r\nContent-Length: 2\r\n\r\nok`)
  const first = send()
  await until(() => asked === 1, 'it is asked')
  answer(1)
  t.equal(await told(await first), 'ok')
  const second = send()
  await until(() => asked === 2, 'it is asked again')
  await once(AbortSignal.timeout(1_200), 'abort')
  answer(600)
  t.equal(await told(await second), 'ok', 'a slow answer is waited for')
  const third = send()
  await until(() => asked === 3, 'and asked once more')
  answer(600)
  t.equal(await told(await third), 'ok')
  t.equal(sockets.length, 1, 'all on one connection')
})

t.test('how long a connection without a request is kept', async (t) => {
  const kept = (idleMs: number, keptMs: number) =>
    ({ slot: { destination: { policy: { idleMs } } }, connection: { keptMs } }) as unknown as Kept
  const rows: readonly [idleMs: number, keptMs: number, wanted: number][] = [
    [60_000, 0, 60_000],
    [0, 0, 0],
    [0, 5_000, 4_000],
    [60_000, 5_000, 4_000],
    [60_000, 1_000, 500],
    [1_000, 5_000, 1_000],
  ]
  for (const [idleMs, keptMs, wanted] of rows)
    t.equal(idleMsOf(kept(idleMs, keptMs)), wanted, `policy ${idleMs}, server ${keptMs}`)
})
