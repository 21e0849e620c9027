import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { messageOf, type SocketAddress } from '#base'
import { HbonePool, serveHbone } from '#hbone'
import {
  Certificates,
  createRoot,
  identityMetrics,
  issueCertificate,
  type Issuer,
  parseCsr,
  renewOnNewRoots,
  type Sign,
  type SpiffeId,
  watchFile,
} from '#identity'
import { Registry, silent } from '#telemetry'
import { trustOf } from '../../ztunnel/trust.ts'
import { echo, idOf, listen, never, readAll, towards, until } from '../lib/hbone/support.ts'

// Adding a root, issuing from it, and taking the old one away, under traffic between two nodes.

const hour = 3_600_000
const quick = { pingIdleMs: 60 }

/** A CA whose root can be replaced. Every answer bears all the roots that are to be believed. */
function authority(first: Issuer) {
  const state = { issuer: first, roots: [first] }
  const sign: Sign = async (csr, id) => {
    const parsed = parseCsr(csr)
    if ('reject' in parsed) throw new Error(parsed.reject)
    const leaf = issueCertificate({
      issuer: state.issuer,
      publicKey: parsed.publicKey,
      uris: [id],
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + hour),
      usages: ['serverAuth', 'clientAuth'],
    })
    return [leaf, state.roots.map(({ certPem }) => certPem).join('')]
  }
  return { state, sign }
}

/** One node: its certificates, a server and a pool. Its root file is the one that the mesh publishes. */
async function node(t: Test, id: SpiffeId, sign: Sign, rootPath: string) {
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const { signal } = stop
  const certificates = new Certificates({ sign, log: silent, random: () => 0 })
  const config = { ca: { root: rootPath }, crlPath: undefined }
  const metrics = identityMetrics(new Registry())
  const trust = trustOf({
    config: { ...config, keyExchange: 'any' },
    certificates,
    metrics,
    log: silent,
    signal,
  })
  const follow = () => renewOnNewRoots({ config, certificates, log: silent, signal, debounceMs: 20 })
  await certificates.get(id, never)
  const address = await listen(t, (socket) => {
    void certificates.get(id, never).then((certificate) => {
      serveHbone(socket, { certificate, trust, limits: quick, onTunnel: echo, signal: never })
    })
  })
  const pool = new HbonePool({ limits: quick, trust, signal })
  const connect = async (to: SocketAddress, peer: SpiffeId) => {
    const certificate = () => certificates.get(id, never)
    const tunnel = await pool.connect({ ...towards(to, await certificate(), [peer]), certificate })
    const stream = tunnel.duplex()
    stream.on('error', () => undefined)
    return stream
  }
  const roots = () => certificates.current(id)?.rootsPem.length
  t.teardown(() => certificates[Symbol.dispose]())
  return { id, address, connect, certificates, roots, follow }
}

/** Opens a tunnel every 50 ms, in both directions, and sends a message through it. */
function traffic(t: Test, exchange: (n: number) => Promise<boolean>) {
  const failures: string[] = []
  let count = 0
  const under = new Set<Promise<void>>()
  const timer = setInterval(() => {
    const n = ++count
    const one = exchange(n)
      .then((isRight) => void (isRight || failures.push(`${n}: wrong bytes`)))
      .catch((error: unknown) => void failures.push(`${n}: ${messageOf(error)}`))
      .finally(() => under.delete(one))
    under.add(one)
  }, 50)
  t.teardown(() => clearInterval(timer))
  return {
    failures,
    count: () => count,
    stop: async () => {
      clearInterval(timer)
      await Promise.all(under)
    },
  }
}

async function says(stream: Duplex, text: string): Promise<boolean> {
  stream.end(text)
  return (await readAll(stream)).toString() === text
}

t.test(
  'three phases of a rotation lose no connection, and the removed root is refused within 10 s',
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'ztunnel-roots-'))
    t.teardown(() => rm(folder, { recursive: true }))
    const rootPath = join(folder, 'root-cert.pem')
    const [first, second] = ['first', 'second'].map((commonName) =>
      createRoot({ organization: 'mesh', commonName, validityMs: hour }),
    )
    if (!first || !second) throw new Error('no roots')
    const publish = (...roots: Issuer[]) => writeFile(rootPath, roots.map(({ certPem }) => certPem).join(''))
    await publish(first)
    const ca = authority(first)
    const away = await node(t, idOf('away'), ca.sign, rootPath) // hears of nothing
    const a = await node(t, idOf('a'), ca.sign, rootPath)
    const b = await node(t, idOf('b'), ca.sign, rootPath)
    a.follow()
    b.follow()
    const leafOf = (one: typeof a) => one.certificates.current(one.id)?.chainPem[0]
    const long = await a.connect(b.address, b.id)
    const run = traffic(t, async (n) => {
      const [from, to] = n % 2 ? [a, b] : [b, a]
      return says(await from.connect(to.address, to.id), `message ${n}`)
    })
    const some = async () => {
      const from = run.count()
      await until(() => run.count() > from + 12)
    }
    await some()

    ca.state.roots = [first, second]
    await publish(first, second)
    await until(() => a.roots() === 2 && b.roots() === 2)
    await some()

    ca.state.issuer = second
    const before = [leafOf(a), leafOf(b)]
    a.certificates.refreshAll() // half of their life has passed for one
    await until(() => leafOf(a) !== before[0])
    await some()
    b.certificates.refreshAll() // and later for the other
    await until(() => leafOf(b) !== before[1])
    await some()
    long.write('x')
    t.equal(
      String(await new Promise((resolve) => long.once('data', resolve))),
      'x',
      'open since the beginning',
    )

    ca.state.roots = [second]
    await publish(second)
    await until(() => long.closed)
    await t.rejects(away.connect(b.address, b.id), 'it shows the old root, and believes in no other')
    await some()
    await run.stop()
    t.same(run.failures, [], `of ${run.count()}`)

    const back = await node(t, idOf('away'), ca.sign, rootPath)
    t.ok(await says(await back.connect(b.address, b.id), 'I was away'))
  },
)

t.test('a root file that is only touched, or gone, renews nothing', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'ztunnel-roots-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const root = join(folder, 'root-cert.pem')
  await writeFile(root, 'one')
  let renewals = 0
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const certificates = { refreshAll: () => renewals++ }
  const parts = { config: { ca: { root } }, certificates, log: silent, signal: stop.signal }
  renewOnNewRoots({ ...parts, debounceMs: 10 })
  let looks = 0
  watchFile({ path: root, changed: () => looks++, signal: stop.signal, debounceMs: 30 })
  const change = async (act: () => Promise<unknown>) => {
    const before = looks
    await act()
    await until(() => looks > before)
  }
  await change(() => writeFile(root, 'one'))
  await change(() => rm(root))
  await change(() => writeFile(root, 'one'))
  t.equal(renewals, 0)
  await change(() => writeFile(root, 'two'))
  t.equal(renewals, 1)
})
