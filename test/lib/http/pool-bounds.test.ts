import * as http from 'node:http'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { HeaderList, HttpPool, type PoolDestination, type RequestHead } from '#http'
import { until } from '../../fakes/until.ts'
import { destinationOf, listen } from './support.ts'

const get: RequestHead = {
  method: 'GET',
  scheme: 'http',
  authority: 'x',
  path: '/',
  headers: new HeaderList(),
}
const never = new AbortController().signal

/** An origin that answers when as many requests are there as it is told of. */
async function origin(t: Test) {
  const waiting: http.ServerResponse[] = []
  const open = new Set<Socket>()
  let connections = 0
  const server = http.createServer((_, response) => void waiting.push(response))
  server.on('connection', (socket: Socket) => {
    connections++
    open.add(socket)
    socket.on('close', () => open.delete(socket))
  })
  const port = await listen(t, server)
  return {
    port,
    open,
    get connections() {
      return connections
    },
    answer: async (n: number) => {
      await until(() => waiting.length === n, `${n} requests have arrived`)
      for (const response of waiting.splice(0)) response.end()
    },
  }
}

const poolOf = (t: Test, ...given: ConstructorParameters<typeof HttpPool>): HttpPool => {
  const pool = new HttpPool(...given)
  t.teardown(() => pool.close())
  return pool
}

async function request(pool: HttpPool, to: PoolDestination): Promise<void> {
  const outcome = await pool.send(to, get, undefined, { signal: never })
  if (outcome.kind === 'response') outcome.response.body.discard()
}

t.test('of what a burst has opened only so much is kept', async (t) => {
  const one = await origin(t)
  const pool = poolOf(t, { maxIdlePerKey: 4 })
  const to = destinationOf(one.port, 'HTTP/1.1')
  const burst = Array.from({ length: 12 }, () => request(pool, to))
  await one.answer(12)
  await Promise.all(burst)
  await until(() => one.open.size === 4, 'the others are closed')
  const again = Array.from({ length: 4 }, () => request(pool, to))
  await one.answer(4)
  await Promise.all(again)
  t.equal(one.connections, 12, 'those that are kept are used')
})

t.test('so of all places together, and who was used last stays', async (t) => {
  const all = await Promise.all([origin(t), origin(t), origin(t)])
  const pool = poolOf(t, { maxIdle: 2 })
  for (const one of all) {
    const done = request(pool, { ...destinationOf(one.port, 'HTTP/1.1'), key: `${one.port}` })
    await one.answer(1)
    await done
  }
  await until(() => all[0].open.size === 0, 'the oldest is closed')
  t.strictSame([all[1].open.size, all[2].open.size], [1, 1])
})

t.test('after a drain of all, whoever asks gets a new connection', async (t) => {
  const one = await origin(t)
  const pool = poolOf(t)
  const to = destinationOf(one.port, 'HTTP/1.1')
  const busy = request(pool, to)
  await until(() => one.connections === 1, 'it is open')
  pool.drainAll()
  const other = request(pool, to)
  await one.answer(2)
  await Promise.all([busy, other])
  t.equal(one.connections, 2, 'one is for what was under way, and one for what came after')
  await until(() => one.open.size === 1, 'the old one ends with its request')
})

t.test('a time that no timer takes is as long as one can', async (t) => {
  const one = await origin(t)
  const pool = poolOf(t)
  const given = { connectMs: 2 ** 40, idleMs: 2 ** 31, maxConnectionMs: Number.POSITIVE_INFINITY }
  const to = destinationOf(one.port, 'HTTP/1.1', given)
  for (let i = 0; i < 2; i++) {
    const done = request(pool, to)
    await one.answer(1)
    await done
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  t.equal(one.connections, 1)
})
