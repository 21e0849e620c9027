import { createSocket } from 'node:dgram'
import type { Resolver } from 'node:dns/promises'
import t from 'tap'
import { ip, MeshError } from '#base'
import { type AskHost, askNode, type HostAnswer, Hosts } from '../../../ztunnel/proxy/resolve-host.ts'

const live = new AbortController().signal
const name = (hostname: string, prefer: 'ipv4' | 'ipv6' = 'ipv4', only?: 'ipv4' | 'ipv6') => ({
  hostname,
  prefer,
  only,
})
const first = () => 0

/** Answers from a table of `family name` → addresses; counts what it was asked. */
function fakeDns(table: Readonly<Record<string, readonly string[]>>, ttlMs = 60_000) {
  const asked: string[] = []
  let now = 1_000
  const ask: AskHost = async (hostname, family): Promise<HostAnswer> => {
    asked.push(`${family} ${hostname}`)
    return { addresses: (table[`${family} ${hostname}`] ?? []).map(ip), ttlMs }
  }
  return { asked, hosts: new Hosts({ ask, now: () => now }), pass: (ms: number) => (now += ms) }
}
const codeOf = async (promise: Promise<unknown>) =>
  promise.then(
    () => 'resolved',
    (error: unknown) => (error instanceof MeshError ? error.code : String(error)),
  )

t.test('the preferred family first, the other one if it has none, only what is allowed', async (t) => {
  const { hosts, asked } = fakeDns({
    'ipv4 both.example': ['192.0.2.1', '192.0.2.2'],
    'ipv6 both.example': ['2001:db8::1'],
    'ipv6 six.example': ['2001:db8::6'],
  })
  t.equal(await hosts.resolve(name('both.example'), first, live), '192.0.2.1')
  t.equal(await hosts.resolve(name('BOTH.example'), () => 0.99, live), '192.0.2.2')
  t.equal(await hosts.resolve(name('both.example', 'ipv6'), first, live), '2001:db8::1')
  t.equal(await hosts.resolve(name('six.example'), first, live), '2001:db8::6')
  t.equal(await codeOf(hosts.resolve(name('six.example', 'ipv4', 'ipv4'), first, live)), 'no-upstream')
  t.equal(await hosts.resolve(name('192.0.2.9'), first, live), '192.0.2.9', 'an address is its own answer')
  t.same(asked, ['ipv4 both.example', 'ipv6 both.example', 'ipv4 six.example', 'ipv6 six.example'])
})

t.test('without IPv6 nothing is asked for it', async (t) => {
  const asked: string[] = []
  const ask: AskHost = async (hostname, family) => {
    asked.push(`${family} ${hostname}`)
    return { addresses: family === 'ipv4' ? [ip('192.0.2.1')] : [ip('2001:db8::1')], ttlMs: 1_000 }
  }
  const hosts = new Hosts({ ask, ipv6: false })
  t.equal(await hosts.resolve(name('a.example', 'ipv6'), first, live), '192.0.2.1')
  t.equal(await codeOf(hosts.resolve(name('a.example', 'ipv6', 'ipv6'), first, live)), 'no-upstream')
  t.same(asked, ['ipv4 a.example'])
})

t.test('an answer is kept as long as it says, within bounds; nothing is kept for a short time', async (t) => {
  const asks = async (ttlMs: number, ms: number, there = true) => {
    const { hosts, asked, pass } = fakeDns(there ? { 'ipv4 a.example': ['192.0.2.1'] } : {}, ttlMs)
    const ask = () => codeOf(hosts.resolve(name('a.example', 'ipv4', 'ipv4'), first, live))
    await ask()
    pass(ms)
    await ask()
    return asked.length
  }
  t.equal(await asks(60_000, 59_000), 1)
  t.equal(await asks(60_000, 61_000), 2)
  t.equal(await asks(0, 900), 1, 'not for every connection')
  t.equal(await asks(86_400_000, 301_000), 2, 'not for ever')
  t.equal(await asks(60_000, 4_900, false), 1)
  t.equal(await asks(60_000, 5_100, false), 2)
})

t.test('many who want the same name ask once; one who leaves takes nobody along', async (t) => {
  const { promise, resolve } = Promise.withResolvers<HostAnswer>()
  let asked = 0
  const hosts = new Hosts({ ask: () => (asked++, promise) })
  const leaving = new AbortController()
  const waiting = [live, live, leaving.signal].map((signal) =>
    hosts.resolve(name('a.example'), first, signal),
  )
  leaving.abort(new MeshError('timeout'))
  t.equal(await codeOf(waiting[2] ?? Promise.resolve()), 'timeout')
  resolve({ addresses: [ip('192.0.2.1')], ttlMs: 1_000 })
  t.same(await Promise.all(waiting.slice(0, 2)), ['192.0.2.1', '192.0.2.1'])
  t.equal(asked, 1)
})

t.test('a failure is not remembered', async (t) => {
  let asked = 0
  const hosts = new Hosts({
    ask: async () => {
      if (asked++ === 0) throw new MeshError('no-upstream', { message: 'SERVFAIL' })
      return { addresses: [ip('192.0.2.1')], ttlMs: 1_000 }
    },
  })
  t.equal(await codeOf(hosts.resolve(name('a.example'), first, live)), 'no-upstream')
  t.equal(await hosts.resolve(name('a.example'), first, live), '192.0.2.1')
})

t.test('a flood of names is bounded, in lookups and in memory', async (t) => {
  let asked = 0
  const slow = new Hosts({ ask: () => (asked++, new Promise<HostAnswer>(() => undefined)) })
  const stop = new AbortController()
  const waiting = Array.from({ length: 300 }, (_, n) =>
    codeOf(slow.resolve(name(`n${n}.example`), first, stop.signal)),
  )
  stop.abort(new MeshError('timeout'))
  const codes = await Promise.all(waiting)
  t.equal(asked, 256)
  t.equal(codes.filter((code) => code === 'over-limit').length, 300 - 256)

  let lookups = 0
  const quick = new Hosts({ ask: async () => (lookups++, { addresses: [ip('192.0.2.1')], ttlMs: 300_000 }) })
  for (let n = 0; n <= 4_096; n++) await quick.resolve(name(`n${n}.example`), first, live)
  t.equal(lookups, 4_097)
  await quick.resolve(name('n4096.example'), first, live)
  t.equal(lookups, 4_097, 'the newest is still known')
  await quick.resolve(name('n0.example'), first, live)
  t.equal(lookups, 4_098, 'the oldest gave way')
})

t.test(
  'our own resolver asks real servers; that there is none is an answer, silence is an error',
  async (t) => {
    const server = createSocket('udp4')
    server.on('message', (query, { port, address }) => {
      const question = query.subarray(12, query.indexOf(0, 12) + 5)
      const found = question.readUInt16BE(question.length - 4) === 1 // type A
      const head = Buffer.from(query.subarray(0, 12))
      head.writeUInt16BE(0x8180, 2)
      head.writeUInt16BE(1, 4)
      head.writeUInt16BE(found ? 1 : 0, 6)
      head.writeUInt32BE(0, 8)
      const answer = Buffer.from('c00c00010001000000070004c0000207', 'hex')
      server.send(Buffer.concat([head, question, ...(found ? [answer] : [])]), port, address)
    })
    await new Promise<void>((done) => server.bind(0, '127.0.0.1', done))
    t.teardown(() => server.close())
    const here = (resolver: Resolver) => resolver.setServers([`127.0.0.1:${server.address().port}`])
    t.same(await askNode('a.example', 'ipv4', live, here), { addresses: ['192.0.2.7'], ttlMs: 7_000 })
    t.same(await askNode('a.example', 'ipv6', live, here), { addresses: [], ttlMs: 0 })
    const silent = createSocket('udp4')
    await new Promise<void>((done) => silent.bind(0, '127.0.0.1', done))
    t.teardown(() => silent.close())
    const nowhere = (resolver: Resolver) => resolver.setServers([`127.0.0.1:${silent.address().port}`])
    t.equal(await codeOf(askNode('a.example', 'ipv4', AbortSignal.timeout(200), nowhere)), 'no-upstream')
  },
)
