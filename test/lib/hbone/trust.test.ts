import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { connect as tlsConnect, createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import { ip, MeshError, type SocketAddress } from '#base'
import { HbonePool, type InboundTunnel, serveHbone, type Transferred } from '#hbone'
import {
  identityMetrics,
  type Revocations,
  type SpiffeId,
  type Trust,
  type WorkloadCertificate,
} from '#identity'
import { Registry } from '#telemetry'
import { parseCrls } from '../../../lib/identity/crl.ts'
import { RevocationLists } from '../../../lib/identity/revocations.ts'
import * as kit from '../identity/certificate-kit.ts'
import { dial, idOf, listen, never, readAll, towards, until } from './support.ts'

const ca = kit.rootOf()
const between = kit.under(ca)

/** A certificate of a workload by any CA of the kit; its chain and its roots as given. */
function workload(
  who: string,
  by = ca,
  chain: kit.Authority[] = [],
  roots = [ca],
  notAfter = kit.fromNow(kit.hour),
  notBefore = kit.fromNow(-60_000),
) {
  const key = kit.freshKey()
  const id = idOf(who)
  const extensions = [
    kit.ext.leaf,
    kit.ext.usage('sign'),
    kit.ext.purpose('server', 'client'),
    kit.ext.uri(id),
  ]
  const leaf = kit.certificate({ by, key, notBefore, notAfter, extensions })
  return {
    id,
    privateKeyPem: kit.pemOfKey(key),
    chainPem: [leaf, ...chain.map(({ certPem }) => certPem)],
    rootsPem: roots.map(({ certPem }) => certPem),
    notBefore,
    notAfter,
  } satisfies WorkloadCertificate
}
const serialOf = (one: WorkloadCertificate) => kit.serialOf(one.chainPem[0] ?? '')

/** Lists that change when told to. */
function lists() {
  const held = new RevocationLists()
  const listeners = new Set<() => void>()
  const revocations: Revocations = {
    isRevoked: (chain) => held.isRevoked(chain),
    onChange: (listener) => {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
  }
  const revoke = (by: kit.Authority, ...revoked: Buffer[]) => {
    const parsed = parseCrls(Buffer.from(kit.crl({ by, revoked })))
    if ('reject' in parsed) throw new Error(parsed.reject)
    held.replace(parsed)
    for (const listener of listeners) listener()
  }
  return { revocations, revoke, watched: () => listeners.size }
}

function counting() {
  const registry = new Registry()
  const read = async (name: string) =>
    (await registry.metrics()).split('\n').filter((line) => line.startsWith(name) && !line.endsWith(' 0'))
  return { metrics: identityMetrics(registry), read }
}

type Served = { address: SocketAddress; ends: unknown[]; transfers: Transferred[]; connections: () => number }

/** A server whose tunnels are forwarded to an echoing application, so that their ends are seen. */
async function serve(
  t: Test,
  certificate: () => WorkloadCertificate,
  trust: Trust,
  limits = {},
): Promise<Served> {
  const app = await listen(t, (socket) => void socket.pipe(socket))
  const ends: unknown[] = []
  const transfers: Transferred[] = []
  let connections = 0
  const onTunnel = async (tunnel: InboundTunnel) => {
    const socket = await dial(app)
    tunnel.accept()
    transfers.push(await tunnel.forward(socket, never))
  }
  const address = await listen(t, (socket) => {
    connections++
    const options = { certificate: certificate(), trust, limits, signal: never }
    const served = serveHbone(socket, { ...options, onTunnel: (one) => void onTunnel(one) })
    void served.closed.then(({ error }) => ends.push(error))
  })
  return { address, ends, transfers, connections: () => connections }
}

function pool(t: Test, trust: Trust, limits = {}): HbonePool {
  const made = new HbonePool({ limits, trust, signal: never })
  t.teardown(() => made[Symbol.asyncDispose]())
  return made
}
const quick = { pingIdleMs: 40 }
const codeOf = (error: unknown) => (error instanceof MeshError ? error.code : String(error))
const failure = (attempt: Promise<unknown>) => attempt.then(() => 'connected', codeOf)

/** Unlike `once` it does not mind an error. */
const closed = (stream: Duplex) =>
  new Promise<void>((resolve) => (stream.closed ? resolve() : stream.once('close', () => resolve())))

/** One message there and back. */
async function says(tunnel: Awaited<ReturnType<HbonePool['connect']>>, text: string) {
  const stream = tunnel.duplex()
  stream.end(text)
  return (await readAll(stream)).toString()
}

for (const [title, by, chain] of [
  ['a leaf', ca, []],
  ['an intermediate', between, [between]],
] as const) {
  const culprit = (one: WorkloadCertificate) =>
    title === 'a leaf' ? serialOf(one) : kit.serialOf(between.certPem)
  const [client, server] = [workload('client', by, [...chain]), workload('server', by, [...chain])]

  t.test(`${title} that is revoked does not come in`, async (t) => {
    const crl = lists()
    crl.revoke(ca, culprit(client))
    const counts = counting()
    const served = await serve(t, () => server, { revocations: crl.revocations, metrics: counts.metrics })
    t.not(await failure(pool(t, {}).connect(towards(served.address, client))), 'connected')
    await until(() => served.ends.length === 1)
    t.match(served.ends, [{ code: 'cert-revoked' }])
    t.same(await counts.read('istio_crl_policy_rejections_total'), [
      'istio_crl_policy_rejections_total{reporter="destination"} 1',
    ])
    t.equal(served.transfers.length, 0)
  })

  t.test(`${title} that is revoked is not spoken to`, async (t) => {
    const crl = lists()
    crl.revoke(ca, culprit(server))
    const counts = counting()
    const served = await serve(t, () => server, {})
    const careful = pool(t, { revocations: crl.revocations, metrics: counts.metrics })
    t.equal(await failure(careful.connect(towards(served.address, client))), 'cert-revoked')
    t.same(await counts.read('istio_crl_policy_rejections_total'), [
      'istio_crl_policy_rejections_total{reporter="source"} 1',
    ])
    t.equal(served.transfers.length, 0)
    t.equal(crl.watched(), 0)
  })
}

/** The same name and key as the revoked intermediate, and a serial number that nobody has revoked. */
const forgery = kit.under(ca, { commonName: 'twin', key: between.key, forged: true })
const twin = kit.under(ca, { commonName: 'twin', key: between.key })
const evasions: [string, kit.Authority[]][] = [
  ['nothing else', [twin]],
  ['a forged twin before it', [forgery, twin]],
  ['a forged twin after it', [twin, forgery]],
  ['nine forged twins around it', [...Array.from({ length: 8 }, () => forgery), twin, forgery]],
  ['eleven strays before it', [...Array.from({ length: 11 }, () => kit.rootOf()), twin]],
  ['its own leaf again', [twin, { ...twin, certPem: workload('client', twin).chainPem[0] ?? '' }]],
]
for (const [title, sent] of evasions) {
  t.test(`nobody hides a revoked intermediate behind ${title}`, async (t) => {
    const client = workload('client', twin, sent)
    const crl = lists()
    const server = workload('server')
    const counts = counting()
    const trust = { revocations: crl.revocations, metrics: counts.metrics }
    const served = await serve(t, () => server, trust)
    crl.revoke(ca, kit.serialOf(twin.certPem))
    t.not(await failure(pool(t, {}).connect(towards(served.address, client))), 'connected')
    await until(() => served.ends.length === 1)
    t.ok(served.ends[0])
    t.equal(served.transfers.length, 0)
  })
}

t.test('strays beside a good chain are no harm', async (t) => {
  const client = workload('client', between, [kit.rootOf(), forgery, between, twin])
  const server = workload('server')
  const crl = lists()
  crl.revoke(ca, kit.serialOf(twin.certPem))
  const served = await serve(t, () => server, { revocations: crl.revocations })
  t.equal(await says(await pool(t, {}).connect(towards(served.address, client)), 'x'), 'x')
})

t.test('a revocation ends the open tunnels of its certificate and of no other', async (t) => {
  const server = workload('server')
  const [bad, good] = [workload('bad'), workload('good')]
  const crl = lists()
  const counts = counting()
  const served = await serve(t, () => server, { revocations: crl.revocations, metrics: counts.metrics })
  const theirs = await pool(t, {}).connect(towards(served.address, bad))
  const ours = await pool(t, {}).connect(towards(served.address, good))
  const broken = theirs.duplex()
  broken.on('error', () => undefined)
  broken.write('x')
  await once(broken, 'data')
  crl.revoke(ca, serialOf(bad))
  await until(() => served.transfers.length === 1)
  t.match(served.transfers, [{ toApp: 1, fromApp: 1, error: { code: 'cert-revoked' } }])
  t.match(served.ends, [{ code: 'cert-revoked' }])
  await closed(broken)
  t.equal(await says(ours, 'still here'), 'still here')
  t.same(await counts.read('istio_crl_policy_rejections_total'), [
    'istio_crl_policy_rejections_total{reporter="destination"} 1',
  ])
  t.same(await counts.read('istio_crl_untracked_connections_total'), [])
})

t.test('a client ends its tunnels to a server that is revoked, and makes no new ones', async (t) => {
  const [client, server] = [workload('client'), workload('server')]
  const crl = lists()
  const served = await serve(t, () => server, {})
  const careful = pool(t, { revocations: crl.revocations })
  const tunnel = await careful.connect(towards(served.address, client))
  const app = await listen(t, (socket) => void socket.write('hello'))
  const forwarding = tunnel.forward(await dial(app), never)
  await until(() => served.connections() === 1)
  crl.revoke(ca, serialOf(server))
  t.match(await forwarding, { error: { code: 'cert-revoked' } })
  t.equal(await failure(careful.connect(towards(served.address, client))), 'cert-revoked')
  t.equal(crl.watched(), 0, 'nothing is left to look at')
})

t.test('our renewed certificate moves new tunnels to a new connection and leaves the old ones', async (t) => {
  const [first, second] = [workload('client'), workload('client')]
  const server = workload('server')
  for (const side of ['client', 'server'] as const) {
    let now = first
    let shown = server
    const current = (id: SpiffeId) => (side === 'client' ? now : id === server.id ? shown : undefined)
    const counts = counting()
    const served = await serve(t, () => shown, side === 'server' ? { current } : {}, quick)
    const ours = pool(t, side === 'client' ? { current, metrics: counts.metrics } : {}, quick)
    const connect = () => ours.connect({ ...towards(served.address, now), certificate: async () => now })
    const old = (await connect()).duplex()
    old.on('error', () => undefined)
    old.write('a')
    t.equal(String(await once(old, 'data')), 'a')
    await connect()
    t.equal(served.connections(), 1)
    if (side === 'client') now = second
    else shown = { ...workload('server') }
    await until(() => ours.connections === 0 || side === 'client')
    await new Promise((resolve) => setTimeout(resolve, 2 * quick.pingIdleMs))
    await connect()
    t.equal(served.connections(), 2, side)
    old.write('b')
    t.equal(String(await once(old, 'data')), 'b', 'the old tunnel goes on')
    old.end()
    await once(old, 'close')
  }
})

t.test('a root that is taken away ends the connections under it', async (t) => {
  const next = kit.rootOf('p256', 'next')
  const mine = workload('server', ca, [], [ca, next])
  let shown: WorkloadCertificate = mine
  const served = await serve(t, () => shown, { current: () => shown }, quick)
  const under = async (by: kit.Authority) => {
    const client = { ...workload('client', by), rootsPem: [ca.certPem] }
    return (await pool(t, {}, quick).connect(towards(served.address, client))).duplex()
  }
  const [old, fresh] = [await under(ca), await under(next)]
  for (const one of [old, fresh]) {
    one.on('error', () => undefined)
    one.write('x')
    await once(one, 'data')
  }
  shown = { ...mine, rootsPem: [next.certPem], chainPem: workload('server', next).chainPem }
  await closed(old)
  await until(() => served.ends.length === 1)
  t.match(served.ends, [{ code: 'tls-failed', message: /not trusted any more/ }])
  fresh.write('y')
  t.equal(String(await once(fresh, 'data')), 'y')
})

t.test('a connection is drained when its peer’s certificate ends, and closed after the grace', async (t) => {
  const server = workload('server')
  const served = await serve(t, () => server, {}, { ...quick, peerExpiryGraceMs: 3_000 })
  // Certificates end on a whole second.
  const ends = new Date(Math.ceil((Date.now() + 2_500) / 1_000) * 1_000)
  let client = workload('client', ca, [], [ca], ends)
  const ours = pool(t, {}, quick)
  const connect = () => ours.connect({ ...towards(served.address, client), certificate: async () => client })
  const old = (await connect()).duplex()
  old.on('error', () => undefined)
  old.write('a')
  await once(old, 'data')
  client = workload('client')
  await until(() => Date.now() > ends.getTime() && ours.connections === 0)
  old.write('b')
  t.equal(String(await once(old, 'data')), 'b', 'open tunnels have the grace')
  await connect()
  t.equal(served.connections(), 2, 'new tunnels do not')
  await closed(old)
  await until(() => served.ends.length === 1)
  const late = Date.now() - ends.getTime()
  t.ok(late >= 2_950 && late < 20_000, `${late} ms after the end`)
  t.match(served.ends, [{ code: 'tls-failed', message: /has expired/ }])
})

t.test('peers out of their time are told from others, and the clock is named', async (t) => {
  const server = workload('server')
  const counts = counting()
  const served = await serve(t, () => server, { metrics: counts.metrics })
  const tomorrow = workload('client', ca, [], [ca], kit.fromNow(kit.hour), kit.fromNow(600_000))
  const past = workload('client', ca, [], [ca], kit.fromNow(-5_000))
  for (const client of [tomorrow, past]) await failure(pool(t, {}).connect(towards(served.address, client)))
  await until(() => served.ends.length === 2)
  t.match(served.ends, [
    { code: 'tls-failed', message: /not yet valid for another (599|600) s by our clock: clock skew/ },
    { code: 'tls-failed', message: /expired [56] s ago by our clock.*clock skew/ },
  ])
  const client = counting()
  for (const other of [tomorrow, past]) {
    const listening = await serve(t, () => ({ ...other, id: server.id }), {})
    const error: unknown = await pool(t, { metrics: client.metrics })
      .connect(towards(listening.address, workload('client'), [idOf('client')]))
      .catch((e: unknown) => e)
    t.match(error, { code: 'tls-failed', message: /clock skew/ })
  }
  for (const [{ read }, reporter] of [
    [counts, 'destination'],
    [client, 'source'],
  ] as const) {
    t.same((await read('lateen_peers_refused_total')).sort(), [
      `lateen_peers_refused_total{reporter="${reporter}",reason="expired"} 1`,
      `lateen_peers_refused_total{reporter="${reporter}",reason="not-yet-valid"} 1`,
    ])
  }
})

t.test('under pqc nothing but X25519MLKEM768 is spoken, from either end', async (t) => {
  const [client, server] = [workload('client'), workload('server')]
  const strict: Trust = { keyExchange: 'pqc' }
  const served = await serve(t, () => server, strict)
  t.equal(await says(await pool(t, strict).connect(towards(served.address, client)), 'x'), 'x')
  t.equal(
    await says(await pool(t, {}).connect(towards(served.address, client)), 'x'),
    'x',
    'it is the default',
  )
  const classic = {
    key: client.privateKeyPem,
    cert: client.chainPem[0] ?? '',
    ca: ca.certPem,
    ALPNProtocols: ['h2'],
  }
  const { address: host, port } = served.address
  for (const ecdhCurve of ['X25519', 'P-256', 'SecP256r1MLKEM768']) {
    const stranger = tlsConnect({ host, port, rejectUnauthorized: false, ...classic, ecdhCurve })
    const heard = await new Promise((resolve) => {
      stranger.once('data', () => resolve('data'))
      stranger.on('error', () => undefined)
      stranger.once('close', () => resolve('closed'))
    })
    stranger.destroy()
    t.equal(heard, 'closed', ecdhCurve)
  }
  const old = createTlsServer({
    key: server.privateKeyPem,
    cert: server.chainPem[0] ?? '',
    ca: ca.certPem,
    requestCert: true,
    ALPNProtocols: ['h2'],
    ecdhCurve: 'X25519:P-256',
  })
  old.on('tlsClientError', () => undefined)
  old.listen(0, '127.0.0.1')
  await once(old, 'listening')
  t.teardown(() => void old.close())
  const bound = old.address()
  const to = { address: ip('127.0.0.1'), port: typeof bound === 'object' && bound ? bound.port : 0 }
  t.equal(await failure(pool(t, strict).connect(towards(to, client))), 'tls-failed')
})
