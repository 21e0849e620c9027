import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { unsentBudget } from '#hbone'
import { HttpPool } from '#http'
import { targetedPolicyTypeUrl } from '#policy'
import { eventually } from '../fakes/mesh-world.ts'
import { processLoad } from '../../waypoint/phase/admit.ts'
import { Permits } from '../../waypoint/permits.ts'
import { Cluster } from '../../waypoint/upstream/cluster.ts'
import { noOps, noRetries, policyOf, rule, type Scene, scene, toWeb, upstreamOf } from './kit.ts'

/** The same numbers in every run. */
function drawing(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
const draw = drawing(20_261_122)
const below = (n: number) => Math.floor(draw() * n)
const oneOf = <T>(all: readonly T[]): T => {
  const found = all[below(all.length)]
  if (found === undefined) throw new Error('nothing to draw from')
  return found
}

/** Puts whoever has `name` called into `seen`. */
function spyOn<T extends object>(prototype: T, name: keyof T & string, seen: Set<T>): void {
  const real: unknown = prototype[name]
  if (typeof real !== 'function') throw new Error(name)
  const value = function (this: T, ...given: unknown[]): unknown {
    seen.add(this)
    return Reflect.apply(real, this, given)
  }
  Object.defineProperty(prototype, name, { value })
}

/** Whose counters are looked at: all that have been used since. */
const clusters = new Set<Cluster>()
const pools = new Set<HttpPool>()
const permits = new Set<Permits>()
let entered = 0
const enter = processLoad.enter.bind(processLoad)
spyOn(Cluster.prototype, 'began', clusters)
spyOn(HttpPool.prototype, 'send', pools)
spyOn(Permits.prototype, 'open', permits)
processLoad.enter = (who) => {
  entered++
  return enter(who)
}

/** What is counted as under way, of all kinds. */
const underWay = () => ({
  load: processLoad.active,
  permits: [...permits].reduce((sum, one) => sum + [...one.all()].length, 0),
  requests: [...clusters].reduce((sum, { requests }) => sum + requests, 0),
  retries: [...clusters].reduce((sum, { retries }) => sum + retries, 0),
  hosts: [...clusters].flatMap((one) => [...one.hosts()]).reduce((sum, { active }) => sum + active, 0),
  sent: [...pools].reduce((sum, pool) => sum + pool.use(group).requests + pool.use(group).pending, 0),
})
const group = `${toWeb.service}|80|`
const nothing = { load: 0, permits: 0, requests: 0, retries: 0, hosts: 0, sent: 0 }

/** What an endpoint does with a request, by its path. */
const answers: Readonly<Record<string, (q: http.IncomingMessage, a: http.ServerResponse) => void>> = {
  ok: (_, a) => void a.end('ok'),
  slow: (_, a) => void setTimeout(() => a.end('ok'), 5),
  whole: (q, a) => void q.resume().on('end', () => a.end('ok')),
  hang: () => undefined,
  broken: (q) => void q.socket.destroy(),
  failing: (_, a) => void a.writeHead(503).end(),
  hinted: (_, a) => {
    a.writeEarlyHints({ link: '</a>' })
    setTimeout(() => a.end('ok'), 3)
  },
  cut: (_, a) => {
    a.writeHead(200, { 'content-length': '100' }).write('some')
    setTimeout(() => a.destroy(), 3)
  },
  endless: (_, a) => {
    const timer = setInterval(() => a.write('more'), 2)
    a.on('close', () => clearInterval(timer))
  },
}
const kinds = Object.keys(answers)

async function endpoint(t: Test, host: string) {
  const made = await upstreamOf(t, host, (q, a) => {
    q.on('error', () => undefined)
    answers[q.url?.slice(1) ?? '']?.(q, a)
  })
  made.server.on('upgrade', (q, socket) => {
    socket.on('error', () => undefined)
    if (q.url === '/broken') socket.destroy()
    else socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
    if (q.url === '/ok') socket.end('bye')
  })
  return made
}

const headersOf = (): Record<string, string> =>
  oneOf<Record<string, string>>([
    {},
    { 'x-envoy-upstream-rq-timeout-ms': '8' },
    { 'x-envoy-retry-on': '5xx', 'x-envoy-max-retries': '2' },
    { 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': '10m' },
  ])

/** A request of HTTP/1.1, with or without a body that never ends, which its client may give up at any moment. */
function askH1(port: number, patience: number): Promise<unknown> {
  const form = oneOf(['plain', 'plain', 'body', 'half', 'expects', 'upgrade'])
  const headers: Record<string, string> = { host: 'web.demo', ...headersOf() }
  if (form === 'expects') headers['expect'] = '100-continue'
  if (form === 'upgrade') Object.assign(headers, { connection: 'upgrade', upgrade: 'websocket' })
  const method = form === 'plain' || form === 'upgrade' ? oneOf(['GET', 'HEAD']) : 'POST'
  const request = http.request({
    host: '127.0.0.1',
    port,
    path: `/${oneOf(kinds)}`,
    method,
    headers,
    agent: false,
  })
  request.on('error', () => undefined)
  request.on('response', (response) => response.on('error', () => undefined).resume())
  request.on('upgrade', (_, socket) => socket.on('error', () => undefined).resume())
  if (form === 'half') request.write('half')
  else request.end(form === 'plain' || form === 'upgrade' ? undefined : 'a body')
  const closed = new Promise((resolve) => request.on('close', resolve))
  setTimeout(() => request.destroy(), patience)
  return closed
}

function askH2(session: http2.ClientHttp2Session, patience: number): Promise<unknown> {
  const method = oneOf(['GET', 'POST'])
  const headers = { ':path': `/${oneOf(kinds)}`, ':method': method, ':authority': 'web.demo', ...headersOf() }
  const stream = session.request(headers, { endStream: method === 'GET' })
  stream.on('error', () => undefined).resume()
  if (method === 'POST') stream.write('half')
  if (method === 'POST' && draw() < 0.7) stream.end()
  setTimeout(() => stream.close(oneOf([0, 2, 8])), patience)
  return new Promise((resolve) => stream.on('close', resolve))
}

const weights = { weight: 1, to: toWeb, requestHeaders: noOps, responseHeaders: noOps }
const retry = {
  ...noRetries,
  attempts: 2,
  on: ['5xx', 'reset'] as const,
  perTryTimeoutMs: 6,
  backoffBaseMs: 2,
}
/** The rules that hold, one after another. */
const rules = [
  rule(),
  rule({}, { timeoutMs: 10, retry }),
  rule({}, { retry, mirrors: [{ to: toWeb, ppm: 1_000_000 }], timeoutMs: 25 }),
  rule({}, { destinations: [weights], retry: { ...retry, perTryTimeoutMs: 0, otherLocalities: true } }),
]

const deny = (s: Scene) => s.policy('not-client', 'deny', ['cluster.local/ns/demo/sa/client'])
const allow = (s: Scene) => s.running.push(targetedPolicyTypeUrl, {}, ['demo/not-client'])

t.test('however requests end, and whenever, nothing is counted as under way afterwards', async (t) => {
  const a = await endpoint(t, '127.0.0.2')
  const b = await endpoint(t, '127.0.0.3')
  const s = await scene(t, { a, b })
  const port = await s.front()
  let most = 0
  for (const http of rules) {
    await s.route({ protocol: 'http', http: [http] }, [
      policyOf({ http: 'http1', retryBudget: { percent: 50, minConcurrency: 20, intervalMs: 0 } }),
    ])
    const session = http2.connect(`http://127.0.0.1:${port}`)
    session.on('error', () => undefined)
    await once(session, 'connect')
    const asked: Promise<unknown>[] = []
    for (let n = 0; n < 60; n++) {
      asked.push(askH1(port, 1 + below(40)), askH2(session, 1 + below(40)))
      most = Math.max(most, processLoad.active)
      if (n === 20) await deny(s)
      if (n === 25) await allow(s)
      if (n % 4 === 0) await delay(1 + below(4))
    }
    // One connection goes with all that is in it.
    setTimeout(() => session.destroy(), 15)
    await Promise.all(asked)
  }
  t.ok(most > 1, `${most} at once`)
  await eventually(() => JSON.stringify(underWay()) === JSON.stringify(nothing), JSON.stringify(underWay()))
  t.strictSame(underWay(), nothing)
  await eventually(() => s.lines().length >= entered, 'each has its line')
  t.equal(s.lines().length, entered, 'and none has two')
  await eventually(() => unsentBudget.used === 0, 'and nothing waits for anybody')
  t.match(await s.get('/ok'), { status: 200, body: 'ok' })
  t.notOk(
    s.running.lines.some(({ message }) => String(message).startsWith('bug')),
    'nothing went wrong',
  )
})

t.test(
  'a copy whose answer does not end is over when its time is, and one that is long after a while',
  async (t) => {
    const closed: string[] = []
    const a = await upstreamOf(t, '127.0.0.2', (q, answer) => {
      if (!q.headers.host?.includes('shadow')) return void answer.end('ok')
      answer.on('close', () => closed.push(q.url ?? ''))
      answer.write(q.url === '/long' ? Buffer.alloc(1 << 20) : 'and so on')
    })
    const s = await scene(t, { a })
    const copied = { mirrors: [{ to: toWeb, ppm: 1_000_000 }] }
    await s.route({ http: [rule({}, { ...copied, timeoutMs: 200 })] }, [policyOf({ http: 'http1' })])
    t.match(await s.get('/endless'), { status: 200 })
    await eventually(() => closed.includes('/endless'), 'its time is over')
    await s.route({ http: [rule({}, copied)] }, [policyOf({ http: 'http1' })])
    t.match(await s.get('/long'), { status: 200 })
    await eventually(() => closed.includes('/long'), 'it is too long')
    await eventually(() => JSON.stringify(underWay()) === JSON.stringify(nothing), 'nothing is under way')
  },
)
