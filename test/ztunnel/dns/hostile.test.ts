import { decode } from 'dns-packet'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createSocket } from 'node:dgram'
import t from 'tap'
import { ip } from '#base'
import { answer, type Client } from '../../../ztunnel/dns/answer.ts'
import { parseQuery, rcodes } from '../../../ztunnel/dns/message.ts'
import { addressReply, emptyReply, limitOf, relayedReply } from '../../../ztunnel/dns/reply.ts'
import { parseResponse } from '../../../ztunnel/dns/response.ts'
import { MeshState, parseService } from '../../../ztunnel/state/index.ts'
import { serviceWire } from '../../fakes/mesh.ts'
import { until } from '../../fakes/until.ts'
import { a, question, queryOf, read, response } from './kit.ts'
import { askUdp, metric, proxy, services, upstream } from './servers.ts'

/** As many as a CI has time for; `FUZZ_ROUNDS=1000000` is the figure to reach at least once. */
const rounds = Number(process.env['FUZZ_ROUNDS'] ?? 100_000)
const seed = Number(process.env['FUZZ_SEED'] ?? 7)

/** Repeatable: mulberry32. */
function randomOf(seed: number): (most: number) => number {
  let state = seed
  return (most) => {
    state = (state + 0x6d2b79f5) | 0
    let z = Math.imul(state ^ (state >>> 15), 1 | state)
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z
    return ((z ^ (z >>> 14)) >>> 0) % most
  }
}

/** What once was hard for a parser: a hex message per line, after its story. */
const corpus = readFileSync(new URL('../../corpus/dns/messages.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => Buffer.from(line.split(' ')[0] ?? '', 'hex'))

const seeds = [
  ...corpus,
  question({ name: 'web.demo.svc.cluster.local', payload: 1232, dnssec: true }),
  question({ name: '_http._tcp.web', type: 'SRV' }),
  response(question({ name: 'web' }), {
    answers: [{ type: 'CNAME', name: 'web', data: 'other.web' }, a('other.web', '10.0.0.1')],
    authorities: [{ type: 'NS', name: 'web', data: 'ns.web' }],
    additionals: [a('ns.web', '10.0.0.2')],
  }),
]

function mutate(from: Buffer, random: (most: number) => number): Buffer {
  const bytes = Buffer.from(from)
  for (let n = random(6); n >= 0 && bytes.length > 0; n--) {
    const at = random(bytes.length)
    const kind = random(4)
    if (kind === 0) bytes[at] = random(256)
    else if (kind === 1) bytes[at] = [0, 0x3f, 0x40, 0x80, 0xc0, 0xff][random(6)] ?? 0
    else if (kind === 2) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8))
    else if (at + 1 < bytes.length) bytes.writeUInt16BE([0, 1, 0xc00c, 0xffff, at][random(5)] ?? 0, at)
  }
  const cut = random(8)
  if (cut === 0) return bytes.subarray(0, random(bytes.length + 1))
  return cut === 1 ? Buffer.concat([bytes, bytes.subarray(random(bytes.length + 1))]) : bytes
}

const many = Array.from({ length: 60 }, (_, n) => ip(`10.1.${n >> 8}.${n & 255}`))

const client: Client = {
  namespace: 'demo',
  domain: 'cluster.local',
  network: '',
  ipv6: true,
  preferredNamespace: undefined,
  random: Math.random,
}

t.test(`${rounds} hostile messages: no throw, and what is read can be answered`, async (t) => {
  const random = randomOf(seed)
  const counts = { query: 0, bad: 0, 'no-query': 0, relayed: 0, found: 0, disagreed: 0 }
  const asked = queryOf({ name: 'web' })
  const state = new MeshState('node')
  state.apply({ services: services.map((draft) => parseService(serviceWire(draft))) })
  const begun = performance.now()
  for (let n = 0; n < rounds; n++) {
    const bytes = mutate(seeds[random(seeds.length)] ?? Buffer.alloc(0), random)
    const parsed = parseQuery(bytes)
    counts[parsed.kind]++
    if (parsed.kind === 'query') {
      const decision = answer(state, parsed.query.question.name, n % 2 === 0 ? 'ipv4' : undefined, client)
      if (decision.kind === 'addresses') counts.found++
      const limit = limitOf(parsed.query, 'udp')
      const reply = addressReply(parsed.query, many, undefined, limit)
      if (reply.length > limit) t.fail(`${reply.length} bytes for ${limit}`)
      if (parseResponse(reply, parsed.query, parsed.query.id).kind !== 'response')
        t.fail(`our own answer is not one: ${bytes.toString('hex')}`)
      if (n % 10 === 0 && !isReadable(emptyReply(parsed.query, rcodes.NOERROR))) counts.disagreed++
    }
    const answered = parseResponse(bytes, asked, bytes.length >= 2 ? bytes.readUInt16BE(0) : 0)
    if (answered.kind !== 'response') continue
    counts.relayed++
    const limit = 12 + asked.question.end + random(200)
    const reply = relayedReply(asked, answered.bytes, { limit, exists: false })
    if (reply.length > limit && reply.length > asked.question.end + 11 + 4096)
      t.fail(`too long a relay: ${bytes.toString('hex')}`)
    if (parseResponse(reply, asked, asked.id).kind !== 'response')
      t.fail(`a broken relay: ${bytes.toString('hex')}`)
  }
  const took = performance.now() - begun
  t.ok(
    counts.query > rounds / 50 &&
      counts.bad > rounds / 50 &&
      counts.relayed > rounds / 500 &&
      counts.found > 0,
    JSON.stringify(counts),
  )
  t.equal(counts.disagreed, 0, 'another implementation can read what we say')
  t.ok(took / rounds < 1, `${((took / rounds) * 1_000).toFixed(1)} µs each`)
})

function isReadable(bytes: Buffer): boolean {
  try {
    decode(bytes)
    return true
  } catch {
    return false
  }
}

t.test('names: what we accept, the other implementation reads as the same', async (t) => {
  const random = randomOf(11)
  let same = 0
  for (let n = 0; n < 20_000; n++) {
    const bytes = mutate(seeds[random(seeds.length)] ?? Buffer.alloc(0), random)
    const parsed = parseQuery(bytes)
    if (parsed.kind !== 'query' || !/^[a-z0-9_.-]*$/.test(parsed.query.question.name)) continue
    if (!isReadable(bytes)) {
      // It looks into records, of which we only need where they end.
      const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10)
      if (records === 0) t.fail(bytes.toString('hex'))
      continue
    }
    const [theirs] = decode(bytes).questions ?? []
    const name = (theirs?.name ?? '').replace(/^\.$/, '').toLowerCase()
    if (name !== parsed.query.question.name) t.equal(name, parsed.query.question.name, bytes.toString('hex'))
    same++
  }
  t.ok(same > 500, `${same} compared`)
})

t.test('hostile messages over the wire, and no name of the mesh fails meanwhile', async (t) => {
  const random = randomOf(13)
  await using other = await upstream(({ bytes }) => mutate(response(bytes, {}), random))
  const times = { deadlineMs: 2_000, nextAttemptMs: 500, idleMs: 2_000 }
  await using dns = await proxy([other.address], { times })
  const sender = createSocket('udp4')
  t.teardown(() => sender.close())
  for (let n = 0; n < 50; n++) {
    for (let i = 0; i < 40; i++) {
      const bytes = mutate(seeds[random(seeds.length)] ?? Buffer.alloc(0), random)
      sender.send(bytes, dns.address.port, dns.address.address)
    }
    t.match(read(await askUdp(dns.address, question({ name: 'web', id: n }))), {
      id: n,
      answers: ['web A 10.0.0.1'],
    })
  }
  await until(() => dns.context.inFlight.count === 0, 'all questions have come to an end')
  t.equal(dns.descriptors(), 0)
})

/** Datagrams from port 0, which any pod that may send ping may send: nobody can answer them. */
const fromPortZero = `
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
for message in sys.argv[2:]:
    body = bytes.fromhex(message)
    s.sendto(struct.pack('!HHHH', 0, int(sys.argv[1]), 8 + len(body), 0) + body, ('127.0.0.1', 0))
`

t.test(
  'questions from port 0: no bug, and nothing that the end would wait for',
  { skip: process.getuid?.() !== 0 && 'raw sockets need root' },
  async (t) => {
    const bugs: unknown[] = []
    const count = (error: unknown) => bugs.push(error)
    process.on('uncaughtException', count).on('unhandledRejection', count)
    t.teardown(() => process.off('uncaughtException', count).off('unhandledRejection', count))
    await using other = await upstream(({ bytes }) => response(bytes, {}))
    await using dns = await proxy([other.address])
    const ours = question({ name: 'web' }).toString('hex')
    const theirs = question({ name: 'not.ours' }).toString('hex')
    const { status } = spawnSync('python3', ['-c', fromPortZero, `${dns.address.port}`, ours, theirs])
    t.equal(status, 0)
    t.match(read(await askUdp(dns.address, question({ name: 'web' }))), { answers: ['web A 10.0.0.1'] })
    t.same(await metric(dns, /^lateen_dns_refused/), ['lateen_dns_refused_total{reason="malformed"} 2'])
    await dns.drain()
    t.same(bugs, [])
    t.same(other.seen, [], 'nor is anybody asked')
  },
)

t.test('65536 spoofed answers, every ID, from another port: not one is believed', async (t) => {
  await using real = await upstream(() => undefined)
  const spoofer = createSocket('udp4')
  t.teardown(() => spoofer.close())
  await using dns = await proxy([real.address], {
    times: { deadlineMs: 30_000, nextAttemptMs: 30_000, idleMs: 500 },
  })
  const forged = response(question({ name: 'bank.example' }), { answers: [a('bank.example', '6.6.6.6')] })
  const asked = askUdp(dns.address, question({ name: 'bank.example' }), 30_000)
  while (real.seen.length === 0) await new Promise(setImmediate)
  // The spoofer may even know the port, for it looks.
  const port = portOfQuestion(dns.address.port, real.address.port)
  for (let id = 0; id < 0x1_0000; id++) {
    forged.writeUInt16BE(id, 0)
    spoofer.send(Buffer.from(forged), port, '127.0.0.1')
    if (id % 512 === 0) await new Promise(setImmediate)
  }
  real.answerLate((bytes) => response(bytes, { answers: [a('bank.example', '9.9.9.9')] }))
  t.match(read(await asked), { rcode: 0, answers: ['bank.example A 9.9.9.9'] })
})

/** The local port of the socket that is connected to `server`, as the kernel lists it. */
function portOfQuestion(proxyPort: number, server: number): number {
  const remote = `0100007F:${server.toString(16).toUpperCase().padStart(4, '0')}`
  for (const line of readFileSync('/proc/net/udp', 'utf8').split('\n')) {
    const [, local = '', to] = line.trim().split(/\s+/)
    if (to === remote) return Number.parseInt(local.split(':')[1] ?? '0', 16)
  }
  throw new Error(`nobody asks ${server} (proxy on ${proxyPort})`)
}
