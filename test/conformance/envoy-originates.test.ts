import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import type { HboneLimits, InboundTunnel, Transferred } from '#hbone'
import { createRoot, parseSpiffeId, type SpiffeId, type WorkloadCertificate } from '#identity'
import { type Envoy, findEnvoy, startEnvoy } from '../helpers/envoy.ts'
import { hboneCluster, type Json, originating } from '../helpers/envoy-config.ts'
import {
  certificateOf,
  client,
  dial,
  idOf,
  never,
  noise,
  readAll,
  serve,
  type Served,
  server,
  sha,
  until,
} from '../lib/hbone/support.ts'
import { catching, over, echoApp, echoes, fill, pingPong } from './envoy-kit.ts'

// Envoy's client, our server: what a Lateen node does when the other end is a waypoint or a gateway of Istio's.

const found = await findEnvoy()
const skip = 'missing' in found && found.missing
const authority = '10.1.2.3:8080'
const smallWindows = { initial_stream_window_size: 65_535, initial_connection_window_size: 65_535 }

type Way = Readonly<{
  to: Served
  own?: WorkloadCertificate
  peers?: readonly SpiffeId[]
  http2?: Json
  headers?: Readonly<Record<string, string>>
  attempts?: number
}>

/** An Envoy with one way out for each name, over HBONE to one of our servers. */
async function envoyTo(t: Test, ways: Readonly<Record<string, Way>>): Promise<Envoy> {
  if ('missing' in found) throw new Error(found.missing)
  const envoy = await startEnvoy(found.binary, ({ log }) => ({
    listeners: Object.entries(ways).map(([name, { headers = {}, attempts = 1 }]) =>
      originating({ name, cluster: name, authority, log: log(name), headers, attempts }),
    ),
    clusters: Object.entries(ways).map(([name, { to, own = client, peers = [server.id], http2 = {} }]) =>
      hboneCluster({ name, own, peers, to: to.address, http2 }),
    ),
  }))
  t.teardown(() => envoy[Symbol.asyncDispose]())
  return envoy
}

/** A local connection that Envoy carries. */
async function local(t: Test, envoy: Envoy, way: string) {
  const app = connect({ host: '127.0.0.1', port: envoy.port(way), allowHalfOpen: true })
  app.on('error', () => undefined)
  await once(app, 'connect')
  t.teardown(() => app.destroy())
  return app
}

/** Our server, which forwards every tunnel to an app. */
async function forwarding(t: Test, to: Parameters<typeof dial>[0], limits: Partial<HboneLimits> = {}) {
  const done: Promise<Transferred>[] = []
  const forward = async (tunnel: InboundTunnel) => {
    const app = await dial(to)
    tunnel.accept()
    done.push(tunnel.forward(app, never))
  }
  return { ...(await serve(t, (tunnel) => void forward(tunnel), limits)), done }
}

t.test('bytes, half-closes, many tunnels and slow readers', { skip }, async (t) => {
  const echo = await echoApp(t)
  const apps = await catching(t)
  const ours = await forwarding(t, echo)
  const tight = await forwarding(t, echo, {
    streamWindow: 65_535,
    connectionWindow: 65_535,
    maxFrameBytes: 16_384,
  })
  const few = await forwarding(t, echo, { maxStreams: 10 })
  const caught = await forwarding(t, apps.at)
  const odd = { baggage: 'k8s.pod.name=a%20b', 'x-odd': `"q";a=b, c=<d> ~!@`, 'x-big': 'x'.repeat(16_384) }
  const envoy = await envoyTo(t, {
    plain: { to: ours },
    odd: { to: ours, headers: odd },
    tight: { to: tight },
    'both-tight': { to: tight, http2: smallWindows },
    'small-windows': { to: ours, http2: smallWindows },
    // Until it has seen our SETTINGS Envoy opens more than ten; what is refused unseen may be asked again (RFC 9113 §8.7).
    few: { to: few, attempts: 20 },
    caught: { to: caught },
  })

  await t.test('64 MiB there and back are the same bytes', async (t) => {
    const app = await local(t, envoy, 'plain')
    t.ok(await echoes(app, 64 << 20))
    t.match(await ours.done[0], { toApp: 64 << 20, fromApp: 64 << 20, error: undefined })
    const [tunnel] = ours.tunnels
    t.match(tunnel, { method: 'CONNECT', authority, peer: client.id })
    await until(() => envoy.entries('plain').length > 0)
    t.match(envoy.entries('plain')[0], { tls: 'TLSv1.3', peer: server.id }, 'as Envoy saw us')
  })

  await t.test('header values big and odd arrive as they were sent', async (t) => {
    t.ok(await echoes(await local(t, envoy, 'odd'), 10))
    const headers = ours.tunnels.at(-1)?.headers
    for (const [name, value] of Object.entries(odd)) t.equal(headers?.get(name), value, name)
  })

  await t.test('small windows on either side, and on both, only slow it down', async (t) => {
    for (const way of ['tight', 'small-windows', 'both-tight']) {
      const all = await Promise.all([1, 2, 3].map(() => local(t, envoy, way)))
      const same = await Promise.all(all.map((app) => echoes(app, 3_000_000)))
      t.same(same, [true, true, true], way)
    }
  })

  await t.test('each direction ends on its own', async (t) => {
    const first = await local(t, envoy, 'caught')
    const theirs = await apps.next()
    first.end('question')
    t.equal(String(await readAll(theirs)), 'question', "Envoy's end is a FIN at the app")
    theirs.end(noise(1_000_000))
    t.equal((await readAll(first)).length, 1_000_000, 'which answers at length after it')
    const second = await local(t, envoy, 'caught')
    const greeter = await apps.next()
    greeter.end('greeting')
    t.equal(String(await readAll(second)), 'greeting', 'the app ends first and the client hears all of it')
    second.end()
    for (const done of caught.done) t.equal((await done).error, undefined)
  })

  await t.test('100 tunnels at once share one connection', async (t) => {
    const before = ours.connections.length
    const all = await Promise.all(Array.from({ length: 100 }, () => local(t, envoy, 'plain')))
    const same = await Promise.all(all.map((app, i) => echoes(app, 100_000 + i)))
    t.notOk(same.includes(false))
    t.ok(ours.connections.length <= before + 1, `${ours.connections.length} connections in all`)
  })

  await t.test('our MAX_CONCURRENT_STREAMS is kept: 100 tunnels, 10 to a connection', async (t) => {
    const all = await Promise.all(Array.from({ length: 100 }, () => local(t, envoy, 'few')))
    t.same(await Promise.all(all.map((app) => pingPong(app, 'x'))), Array(100).fill('x'))
    t.ok(few.connections.length >= 10, `${few.connections.length} connections`)
    t.ok(
      few.connections.every(({ tunnels }) => tunnels <= 10),
      'none has more than ten',
    )
    t.notOk((await Promise.all(all.map((app) => echoes(app, 1_000)))).includes(false))
  })

  await t.test('a reader that stops holds up its own tunnel only, and gets every byte', async (t) => {
    const part = noise(1 << 20)
    const slow = await local(t, envoy, 'caught')
    const stopped = await apps.next()
    stopped.pause()
    const written = await fill(slow, part)
    t.ok(written < 64 << 20, `the sender was stopped (after ${written} bytes)`)
    const neighbour = await local(t, envoy, 'caught')
    const its = await apps.next()
    its.pipe(its)
    t.ok(await echoes(neighbour, 1_000_000), 'a neighbour on the connection')
    slow.end()
    const whole = await readAll(stopped)
    t.equal(sha(whole), sha(Buffer.concat(Array.from({ length: written / part.length }, () => part))))

    const fast = await local(t, envoy, 'caught')
    const talker = await apps.next()
    fast.pause()
    const said = await fill(talker, part)
    t.ok(said < 64 << 20, `the app was stopped (after ${said} bytes)`)
    talker.end()
    t.equal((await readAll(fast)).length, said)
  })

  await t.test('resets are told on, both ways', async (t) => {
    const one = await local(t, envoy, 'caught')
    const theirs = await apps.next()
    theirs.pipe(theirs)
    await pingPong(one, 'x')
    const oneOver = over(one)
    theirs.resetAndDestroy()
    await oneOver
    t.pass("the app's reset ends the client")
    const two = await local(t, envoy, 'caught')
    const other = await apps.next()
    other.pipe(other)
    await pingPong(two, 'x')
    const otherOver = over(other)
    two.resetAndDestroy()
    await otherOver
    t.pass("the client's reset ends the app")
    const three = await local(t, envoy, 'caught')
    const last = await apps.next()
    last.pipe(last)
    t.ok(await echoes(three, 1_000), 'the connection lives')
  })
})

t.test('refusals, and what Envoy makes of them', { skip }, async (t) => {
  const statuses = [400, 401, 403, 503]
  const refusing = await serve(t, (tunnel) => tunnel.refuse(statuses[refusing.tunnels.length - 1] ?? 503))
  const envoy = await envoyTo(t, { refused: { to: refusing } })
  for (const status of statuses) {
    const app = await local(t, envoy, 'refused')
    app.write('hello?')
    await over(app.resume())
    t.pass(`${status} closes the client`)
  }
  t.equal(refusing.tunnels.length, statuses.length, 'asked once each')
  t.equal(refusing.connections.length, 1, 'on one connection')
})

t.test('when we drain, nothing is lost: open tunnels go on, new ones come anew', { skip }, async (t) => {
  const ours = await forwarding(t, await echoApp(t))
  const envoy = await envoyTo(t, { way: { to: ours } })
  const old = await local(t, envoy, 'way')
  t.equal(await pingPong(old, 'before'), 'before')
  // New connections arrive all the time, also exactly while the GOAWAY is under way.
  const storm = Array.from({ length: 40 }, async (_, i) => {
    if (i === 20) ours.connections[0]?.drain()
    await new Promise((done) => setTimeout(done, i * 5))
    return echoes(await local(t, envoy, 'way'), 50_000)
  })
  t.notOk((await Promise.all(storm)).includes(false), '40 new connections around a GOAWAY')
  t.ok(ours.connections.length >= 2, `${ours.connections.length} connections`)
  t.equal(ours.connections[0]?.tunnels, 1, 'the drained one has its old tunnel')
  t.equal(await pingPong(old, 'after'), 'after')
  t.ok(await echoes(old, 1_000_000))
  t.same(await ours.connections[0]?.closed, {}, 'and closes in peace after it')
})

t.test('PINGs are answered both ways while nothing else is said', { skip }, async (t) => {
  const ours = await forwarding(t, await echoApp(t), { pingIdleMs: 200, pingTimeoutMs: 5_000 })
  const keepalive = { connection_keepalive: { interval: '0.2s', timeout: '5s' } }
  const envoy = await envoyTo(t, { way: { to: ours, http2: keepalive } })
  const app = await local(t, envoy, 'way')
  t.equal(await pingPong(app, 'before'), 'before')
  await new Promise((done) => setTimeout(done, 6_500))
  t.equal(await pingPong(app, 'after'), 'after')
  t.equal(ours.connections.length, 1)
  t.equal(await envoy.stat('cluster.way.http2.keepalive_timeout'), 0, 'as Envoy counts')
})

t.test('the wrong identity gets nothing, whoever has it', { skip }, async (t) => {
  const ours = await forwarding(t, await echoApp(t))
  const elsewhere = parseSpiffeId('spiffe://other.domain/ns/test/sa/client')
  if (elsewhere === undefined) throw new Error('no id')
  const otherRoot = createRoot({ organization: 'other', validityMs: 3_600_000 })
  const forged = { ...certificateOf(client.id, otherRoot), rootsPem: client.rootsPem }
  const envoy = await envoyTo(t, {
    suspicious: { to: ours, peers: [idOf('somebody-else')] },
    forged: { to: ours, own: forged },
    elsewhere: { to: ours, own: certificateOf(elsewhere) },
    right: { to: ours },
  })
  const problems = {
    suspicious: /./,
    forged: /certificate/,
    elsewhere: /unexpected peer: spiffe:\/\/other\.domain/,
  }
  for (const [i, [way, message]] of Object.entries(problems).entries()) {
    const app = await local(t, envoy, way)
    app.write('hello?')
    await over(app.resume())
    t.match(await ours.connections[i]?.closed, { error: { code: 'tls-failed', message } }, way)
  }
  t.equal(ours.tunnels.length, 0, 'none opens a tunnel')
  t.ok(await echoes(await local(t, envoy, 'right'), 1_000), 'the right one does')
})
