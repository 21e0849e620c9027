import { once } from 'node:events'
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { headLoad, processLoad } from '../../waypoint/phase/admit.ts'
import { copyLoad } from '../../waypoint/phase/mirror.ts'
import { policyOf, rule, scene, toWeb, upstreamOf } from './kit.ts'

const usual = processLoad.limit
const usualCopies = copyLoad.limit
const usualHeads = headLoad.limit
t.teardown(() => {
  processLoad.limit = usual
  copyLoad.limit = usualCopies
  headLoad.limit = usualHeads
})

/** Requests of HTTP/2 through one connection, each with its status, and gRPC's where it has one. */
function client(t: Test, port: number, createConnection?: () => Duplex) {
  const session = http2.connect(`http://127.0.0.1:${port}`, { ...(createConnection && { createConnection }) })
  session.on('error', () => undefined)
  t.teardown(() => session.destroy())
  return async (headers: http2.OutgoingHttpHeaders = {}) => {
    const stream = session.request({ ':path': '/', ':authority': 'web.demo', ...headers })
    let body = ''
    stream.on('data', (part: Buffer) => (body += String(part)))
    const ended = once(stream, 'end')
    const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    await ended
    return {
      status: Number(answer[':status']),
      overloaded: answer['x-envoy-overloaded'],
      grpc: answer['grpc-status'],
      body,
    }
  }
}

t.test('requests beyond what fits are refused at once, and nothing of them is sent', async (t) => {
  const waiting: (() => void)[] = []
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void waiting.push(() => response.end('ok')))
  const s = await scene(t, { a })
  await s.route({ http: [rule()] }, [policyOf({ http: 'http1' })])
  processLoad.limit = 20
  const ask = client(t, await s.front())
  const taken = Array.from({ length: 15 }, () => ask())
  await eventually(() => waiting.length === 15, 'all that fit of one caller are at the endpoint')
  t.equal(processLoad.active, 15)
  const refused = await Promise.all(Array.from({ length: 60 }, () => ask()))
  for (const one of refused)
    t.same(one, { status: 503, overloaded: 'true', grpc: undefined, body: 'overloaded' })
  t.match(await ask({ 'content-type': 'application/grpc', te: 'trailers' }), { status: 200, grpc: '14' })
  t.equal(waiting.length, 15, 'the endpoint has not heard of them')
  const other = await s.tunnel(undefined, 'bank')
  const another = client(t, 0, () => other.duplex())
  taken.push(another(), another())
  await eventually(() => waiting.length === 17, 'there is room for another caller')
  t.equal(processLoad.active, 17)
  for (const answer of waiting.splice(0)) answer()
  for (const one of await Promise.all(taken)) t.match(one, { status: 200, body: 'ok' })
  await eventually(() => processLoad.active === 0, 'and there is room again')
  const next = ask()
  await eventually(() => waiting.length === 1, 'for another one')
  waiting[0]?.()
  t.match(await next, { status: 200 })
  await eventually(() => s.lines().length === 79, 'each has its line')
  t.equal(s.lines().filter((line) => line.includes(' 503 UO overload ')).length, 60)
})

t.test(
  'twice what can be served, for a while: what is under way and what is kept stay bounded',
  async (t) => {
    // Twenty at once, each for 20 ms: 1,000 a second at most, and twice as many come.
    let served = 0
    const a = await upstreamOf(t, '127.0.0.2', (_, response) => {
      served++
      setTimeout(() => response.end('ok'), 20)
    })
    const s = await scene(t, { a }, { ACCESS_LOG_FORMAT: 'off' })
    await s.route({ http: [rule()] }, [policyOf({ http: 'http1' })])
    processLoad.limit = 20
    const clients = await Promise.all(Array.from({ length: 4 }, async () => client(t, await s.front())))
    const counts: Record<number, number> = {}
    let most = 0
    let made = 0
    const round = () => {
      for (const ask of clients)
        for (let n = 0; n < 10; n++) {
          made++
          void ask().then(({ status }) => (counts[status] = (counts[status] ?? 0) + 1))
        }
    }
    for (let n = 0; n < 40; n++) {
      round()
      most = Math.max(most, processLoad.active)
      await delay(20)
    }
    const total = () => Object.values(counts).reduce((sum, count) => sum + count, 0)
    await eventually(() => total() === made, 'every request has an answer')
    t.ok(most <= 20, `${most} at once`)
    t.same(Object.keys(counts).sort(), ['200', '503'])
    t.equal(counts[200], served, 'what was sent was answered')
    await eventually(() => processLoad.active === 0, 'nothing is left')
  },
)

t.test('copies that nobody answers take no more than their own room', async (t) => {
  const copies: (() => void)[] = []
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    if (request.headers.host?.includes('-shadow')) copies.push(() => response.end('late'))
    else response.end('ok')
  })
  const s = await scene(t, { a })
  const { registry } = s.running.waypoint
  const skipped = async () => /^lateen_mirrors_skipped_total (\d+)$/m.exec(await registry.metrics())?.[1]
  const copied = rule({}, { mirrors: [{ to: toWeb, ppm: 1_000_000 }] })
  await s.route({ http: [copied] }, [policyOf({ http: 'http1' })])
  processLoad.limit = usual
  copyLoad.limit = 8
  for (let n = 0; n < 20; n++) t.match(await s.get('/'), { status: 200, body: 'ok' })
  // One place gets three quarters of it.
  await eventually(() => copies.length === 6, 'those that fit have come')
  t.equal(copyLoad.active, 6)
  t.equal(await skipped(), '14', 'the others are counted')
  for (const answer of copies.splice(0)) answer()
  await eventually(() => copyLoad.active === 0, 'there is room again')
  t.match(await s.get('/'), { status: 200, body: 'ok' })
  await eventually(() => copies.length === 1, 'for another one')
  for (const answer of copies) answer()
  await eventually(() => copyLoad.active === 0, 'nothing is left')
})

t.test('few requests with large heads are as much as many with usual ones', async (t) => {
  const waiting: (() => void)[] = []
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void waiting.push(() => response.end('ok')))
  const s = await scene(t, { a })
  await s.route({ http: [rule()] }, [policyOf({ http: 'http1' })])
  processLoad.limit = usual
  headLoad.limit = 200_000
  const ask = client(t, await s.front())
  const large = { 'x-large': 'y'.repeat(10_000) }
  // Three quarters of it for one caller.
  const taken = Array.from({ length: 14 }, () => ask(large))
  await eventually(() => waiting.length === 14, 'those that fit are at the endpoint')
  t.match(await ask(large), { status: 503, overloaded: 'true' })
  taken.push(ask())
  await eventually(() => waiting.length === 15, 'a small one still fits')
  for (const answer of waiting.splice(0)) answer()
  for (const one of await Promise.all(taken)) t.match(one, { status: 200 })
  await eventually(() => headLoad.active === 0 && processLoad.active === 0, 'nothing is left')
  t.ok(s.lines().some((line) => line.includes(' 503 UO overload ')))
})
