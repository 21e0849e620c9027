import { once } from 'node:events'
import t from 'tap'
import { ip, type SocketAddress } from '#base'
import { findEnvoy, startEnvoy } from '../helpers/envoy.ts'
import { byAuthority, terminating } from '../helpers/envoy-config.ts'
import {
  certificateOf,
  client,
  idOf,
  noise,
  poolOf,
  readAll,
  server,
  sha,
  towards,
  until,
} from '../lib/hbone/support.ts'
import { catching, over, echoApp, echoApp6, echoes, fill, open, pingPong, textOf } from './envoy-kit.ts'

// Our client, Envoy's server: what a Lateen node does when the other end is a waypoint or a gateway of Istio's.

const found = await findEnvoy()
const skip = 'missing' in found && found.missing
const refusals = [400, 401, 403, 404, 429, 500, 503]
const smallWindows = { initial_stream_window_size: 65_535, initial_connection_window_size: 65_535 }
const common = { own: server, peers: [client.id] }

const envoy =
  'binary' in found
    ? await startEnvoy(found.binary, ({ log }) => {
        const listener = (name: string, more = {}) =>
          terminating({ name, log: log(name), ...common, ...more })
        return {
          listeners: [
            listener('in', {
              refused: Object.fromEntries(refusals.map((status) => [`refuse-${status}:80`, status])),
            }),
            listener('in6', { at: { address: '::1', port: 0 } }),
            listener('small', { http2: smallWindows }),
            listener('three', { maxTunnelsPerConnection: 3 }),
            listener('ten', { http2: { max_concurrent_streams: 10 } }),
            listener('strict', { peers: [idOf('somebody-else')] }),
            listener('pings', { http2: { connection_keepalive: { interval: '0.2s', timeout: '5s' } } }),
          ],
          clusters: [byAuthority],
        }
      })
    : undefined
t.teardown(() => envoy?.[Symbol.asyncDispose]())
const at = (listener: string, address = '127.0.0.1'): SocketAddress => ({
  address: ip(address),
  port: envoy?.port(listener) ?? 0,
})
const entries = (listener: string) => envoy?.entries(listener) ?? []
/** Each test has an app of its own, so its tunnels are those to that app. */
const tunnelsTo = (authority: string) => entries('in').filter((entry) => entry['authority'] === authority)

t.test('64 MiB there and back are the same bytes', { skip }, async (t) => {
  const authority = textOf(await echoApp(t))
  const { app, done } = await open(t, poolOf(t), at('in'), authority)
  t.ok(await echoes(app, 64 << 20))
  t.match(await done, { toApp: 64 << 20, fromApp: 64 << 20, error: undefined })
  await until(() => tunnelsTo(authority).length > 0)
  t.match(
    tunnelsTo(authority)[0],
    { tls: 'TLSv1.3', protocol: 'HTTP/2', peer: client.id, authority, status: 200 },
    'Envoy saw TLS 1.3, h2, our SPIFFE ID and a CONNECT',
  )
})

t.test('small windows on either side, and on both, only slow it down', { skip }, async (t) => {
  const authority = textOf(await echoApp(t))
  const ours = { streamWindow: 65_535, connectionWindow: 65_535, maxFrameBytes: 16_384 }
  for (const [name, limits] of [
    ['small', {}],
    ['in', ours],
    ['small', ours],
  ] as const) {
    const pool = poolOf(t, limits)
    const all = await Promise.all([1, 2, 3].map(() => open(t, pool, at(name), authority)))
    const same = await Promise.all(all.map(({ app }) => echoes(app, 3_000_000)))
    t.same(same, [true, true, true], `${name}, ${JSON.stringify(limits)}`)
  }
})

t.test('each direction ends on its own', { skip }, async (t) => {
  const apps = await catching(t)
  const pool = poolOf(t)

  const first = await open(t, pool, at('in'), textOf(apps.at))
  const theirs = await apps.next()
  first.app.end('question')
  t.equal(String(await readAll(theirs)), 'question', 'our end is a FIN at the app')
  theirs.end(noise(1_000_000))
  t.equal((await readAll(first.app)).length, 1_000_000, 'which answers at length after it')
  t.equal((await first.done).error, undefined)

  const second = await open(t, pool, at('in'), textOf(apps.at))
  const greeter = await apps.next()
  greeter.end('greeting')
  t.equal(String(await readAll(second.app)), 'greeting', 'the app ends first and we hear all of it')
  second.app.end()
  t.equal((await second.done).error, undefined)
})

t.test('100 tunnels at once share one connection', { skip }, async (t) => {
  const authority = textOf(await echoApp(t))
  const pool = poolOf(t)
  const all = await Promise.all(Array.from({ length: 100 }, () => open(t, pool, at('in'), authority)))
  t.equal(pool.connections, 1)
  const same = await Promise.all(all.map(({ app }, i) => echoes(app, 100_000 + i)))
  t.notOk(same.includes(false), 'every one has its own bytes')
  await Promise.all(all.map(({ done }) => done))
  await until(() => tunnelsTo(authority).length === 100)
  const used = new Set(tunnelsTo(authority).map((entry) => entry['connection']))
  t.equal(used.size, 1, 'one connection, as Envoy counts')
})

t.test("Envoy's MAX_CONCURRENT_STREAMS is kept: 100 tunnels, 10 to a connection", { skip }, async (t) => {
  const authority = textOf(await echoApp(t))
  const pool = poolOf(t)
  const all = await Promise.all(Array.from({ length: 100 }, () => open(t, pool, at('ten'), authority)))
  t.ok(pool.connections >= 10, `${pool.connections} connections`)
  const same = await Promise.all(all.map(({ app }) => echoes(app, 1_000)))
  t.notOk(same.includes(false))
  t.equal(await envoy?.stat('http.ten.downstream_rq_rx_reset'), 0, 'and nothing was reset')
})

t.test('a GOAWAY costs no tunnel: neither those that are open nor those that come', { skip }, async (t) => {
  const authority = textOf(await echoApp(t))
  const pool = poolOf(t)
  const all = await Promise.all(Array.from({ length: 30 }, () => open(t, pool, at('three'), authority)))
  for (let i = 0; i < 5; i++) all.push(await open(t, pool, at('three'), authority))
  const same = await Promise.all(all.map(({ app }) => echoes(app, 200_000)))
  t.notOk(same.includes(false), '35 tunnels over connections that take few')
  await until(() => pool.connections <= 1)
  t.pass('only the newest connection, which had no GOAWAY, is kept')
})

t.test('a reader that stops holds up its own tunnel only, and gets every byte', { skip }, async (t) => {
  const apps = await catching(t)
  const pool = poolOf(t)
  const slow = await open(t, pool, at('in'), textOf(apps.at))
  const stopped = await apps.next()
  stopped.pause()
  const part = noise(1 << 20)
  const written = await fill(slow.app, part)
  t.ok(written < 64 << 20, `our sender was stopped (after ${written} bytes)`)
  const echo = textOf(await echoApp(t))
  t.ok(await echoes((await open(t, pool, at('in'), echo)).app, 1_000_000), 'a neighbour on the connection')
  slow.app.end()
  const whole = await readAll(stopped)
  t.equal(sha(whole), sha(Buffer.concat(Array.from({ length: written / part.length }, () => part))))

  const fast = await open(t, pool, at('in'), textOf(apps.at))
  const talker = await apps.next()
  fast.app.pause()
  const said = await fill(talker, part)
  t.ok(said < 64 << 20, `their sender was stopped (after ${said} bytes)`)
  t.ok(await echoes((await open(t, pool, at('in'), echo)).app, 1_000_000), 'a neighbour on the connection')
  // Not ended before all has arrived: Envoy resets a tunnel whose app ends while its bytes wait for a window.
  let heard = 0
  fast.app.on('data', (bytes: Buffer) => (heard += bytes.length))
  fast.app.resume()
  await until(() => heard === said)
  t.pass('all of it arrives')
})

t.test('resets are told on, both ways', { skip }, async (t) => {
  const apps = await catching(t)
  const pool = poolOf(t)
  const one = await open(t, pool, at('in'), textOf(apps.at))
  const theirs = await apps.next()
  theirs.pipe(theirs)
  await pingPong(one.app, 'x')
  const failed = once(one.app, 'error')
  theirs.resetAndDestroy()
  t.match(await failed, [{ code: 'ECONNRESET' }], "the app's reset is a reset on our side")
  t.notOk('error' in (await one.done), 'which is how connections end, and no failure of ours')

  const two = await open(t, pool, at('in'), textOf(apps.at))
  const other = await apps.next()
  const gone = over(other)
  other.resume()
  two.app.resetAndDestroy()
  await gone
  t.pass('our reset ends the app')
  t.equal(pool.connections, 1, 'the connection lives')
  const echo = textOf(await echoApp(t))
  t.ok(await echoes((await open(t, pool, at('in'), echo)).app, 1_000), 'and serves')
})

t.test('refusals are read for what they are', { skip }, async (t) => {
  const pool = poolOf(t)
  for (const status of refusals)
    await t.rejects(
      pool.connect({ ...towards(at('in')), authority: `refuse-${status}:80` }),
      { code: 'http-status', message: `http status: ${status}`, unsent: true },
      `${status}`,
    )
  await t.rejects(
    pool.connect({ ...towards(at('in')), authority: '127.0.0.1:1' }),
    { code: 'http-status', message: 'http status: 503' },
    'nobody listens behind Envoy',
  )
  t.equal(pool.connections, 1, 'one connection served them all')
})

t.test('header values big and odd arrive as they were sent', { skip }, async (t) => {
  const authority = textOf(await echoApp(t))
  const pool = poolOf(t)
  const values: [string, string][] = [
    ['baggage', 'k8s.namespace.name=demo,k8s.pod.name=client,service.name=a%20b'],
    ['x-odd', `"quoted";a=b, c=<d> {e} [f] |g| \\h ~!@#$%^&*()`],
    ['x-odd', 'x'.repeat(30_000)],
    ['x-odd', ''],
  ]
  for (const [name, value] of values) {
    const before = tunnelsTo(authority).length
    const { app, tunnel } = await open(t, pool, at('in'), authority, { headers: { [name]: value } })
    t.equal(tunnel.responseHeaders.get('baggage'), 'k8s.pod.name=envoy', "Envoy's baggage is read")
    t.ok(await echoes(app, 10))
    await until(() => tunnelsTo(authority).length > before)
    const seen = tunnelsTo(authority)[before]?.[name === 'baggage' ? 'baggage' : 'odd']
    t.equal(seen ?? '', value, value.slice(0, 30))
  }
  await t.rejects(
    pool.connect({ ...towards(at('in')), authority, headers: { 'x-odd': 'x'.repeat(70_000) } }),
    'more than Envoy takes is refused',
  )
  t.ok(await echoes((await open(t, pool, at('in'), authority)).app, 10), 'and the pool goes on')
})

t.test('IPv6', { skip }, async (t) => {
  const authority = textOf(await echoApp6(t))
  t.match(authority, /^\[::1\]/)
  t.ok(await echoes((await open(t, poolOf(t), at('in6', '::1'), authority)).app, 100_000))
})

t.test('PINGs are answered both ways while nothing else is said', { skip }, async (t) => {
  const authority = textOf(await echoApp(t))
  const pool = poolOf(t, { pingIdleMs: 200, pingTimeoutMs: 5_000 })
  const { app } = await open(t, pool, at('pings'), authority)
  t.equal(await pingPong(app, 'before'), 'before')
  await new Promise((done) => setTimeout(done, 6_500))
  t.equal(await pingPong(app, 'after'), 'after')
  t.equal(pool.connections, 1)
  t.equal(await envoy?.stat('http2.keepalive_timeout'), 0, 'as Envoy counts')
})

t.test('the wrong identity gets nothing, whoever has it', { skip }, async (t) => {
  const connect = (...of: Parameters<typeof towards>) => poolOf(t).connect(towards(...of))
  await t.rejects(connect(at('strict')), { code: 'tls-failed' }, 'Envoy does not want us')
  await t.rejects(
    connect(at('in'), client, [idOf('somebody-else')]),
    { code: 'tls-failed', message: /unexpected peer: .*\/server/ },
    'we do not want this Envoy',
  )
  await t.rejects(connect(at('in'), certificateOf(idOf('stranger'))), { code: 'tls-failed' }, 'a stranger')
  t.equal(entries('strict').length, 0, 'no tunnel reached the strict one')
})

t.test('a draining Envoy: the open tunnel goes on, the connection is not used again', { skip }, async (t) => {
  const authority = textOf(await echoApp(t))
  const pool = poolOf(t)
  const { app, done } = await open(t, pool, at('in'), authority)
  t.equal(await pingPong(app, 'before'), 'before')
  await envoy?.post('/drain_listeners?graceful&skip_exit')
  // Envoy says so with the next answer on the connection.
  for (let i = 0; pool.connections === 1 && i < 200; i++) {
    const next = await open(t, pool, at('in'), authority).catch(() => undefined)
    if (next) await echoes(next.app, 1)
  }
  t.equal(pool.connections, 0, 'GOAWAY was heard')
  t.equal(await pingPong(app, 'after'), 'after')
  t.ok(await echoes(app, 1_000_000))
  t.equal((await done).error, undefined)
})
