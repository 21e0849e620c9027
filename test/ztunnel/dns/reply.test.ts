import {
  type Answer,
  AUTHENTIC_DATA,
  CHECKING_DISABLED,
  encode,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet'
import t from 'tap'
import { ip } from '#base'
import { flags, rcodes } from '../../../ztunnel/dns/message.ts'
import { addressReply, bareReply, emptyReply, limitOf, relayedReply } from '../../../ztunnel/dns/reply.ts'
import { parseResponse } from '../../../ztunnel/dns/response.ts'
import { a, question, queryOf, read, response } from './kit.ts'

const many = (count: number) => Array.from({ length: count }, (_, n) => ip(`10.0.${n >> 8}.${n & 255}`))
const srv = (name: string, target: string): Answer => ({
  type: 'SRV',
  name,
  ttl: 5,
  data: { target, port: 80, priority: 0, weight: 1 },
})
const soa: Answer = {
  type: 'SOA',
  name: 'example.com',
  ttl: 5,
  data: { mname: 'ns', rname: 'me', serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 5 },
}

t.test('addresses, with the name as the client spelled it', async (t) => {
  const query = queryOf({ name: 'Web.Shop', id: 77, flags: RECURSION_DESIRED | CHECKING_DISABLED })
  t.match(read(addressReply(query, [ip('10.0.0.1'), ip('fd00::1')], undefined, 512)), {
    id: 77,
    rcode: 0,
    aa: true,
    ra: true,
    rd: true,
    cd: true,
    tc: false,
    ad: false,
    question: { name: 'Web.Shop', type: 'A' },
    answers: ['Web.Shop A 10.0.0.1', 'Web.Shop AAAA fd00::1'],
    opt: undefined,
  })
})

t.test('an alias comes first, and owns the addresses', async (t) => {
  const query = queryOf({ name: 'example.com.shop.svc.cluster.local', payload: 1232, dnssec: true })
  const reply = read(addressReply(query, [ip('240.0.0.1')], 'example.com', 512))
  t.same(reply.answers, ['example.com.shop.svc.cluster.local CNAME example.com', 'example.com A 240.0.0.1'])
  t.match(reply.opt, { flag_do: true, ednsVersion: 0 })
})

t.test('what does not fit is left out and marked', async (t) => {
  for (const [limit, payload] of [
    [512, undefined],
    [1232, 1232],
    [4096, 4096],
  ] as const) {
    const query = queryOf({ name: 'web', ...(payload === undefined ? {} : { payload }) })
    t.equal(limitOf(query, 'udp'), limit)
    const cut = read(addressReply(query, many(1_000), undefined, limit))
    t.ok(cut.bytes <= limit && cut.bytes > limit - 16, `${cut.bytes} of ${limit} bytes`)
    t.equal(cut.tc, true)
    t.ok(cut.answers.length > 25)
  }
  const query = queryOf({ name: 'web' })
  const whole = read(addressReply(query, many(1_000), undefined, limitOf(query, 'tcp')))
  t.match(whole, { tc: false, answers: { length: 1_000 } })
  t.equal(limitOf(queryOf({ name: 'web', payload: 65_535 }), 'udp'), 4_096, 'no more, whatever is offered')
  t.equal(limitOf(queryOf({ name: 'web', payload: 1 }), 'udp'), 512)
})

t.test('a "no" has the question and no records', async (t) => {
  const query = queryOf({ name: 'web', type: 'AAAA' })
  t.match(read(emptyReply(query, rcodes.NOERROR, true)), {
    rcode: 0,
    aa: true,
    answers: [],
    question: { name: 'web' },
  })
  t.match(read(emptyReply(query, rcodes.SERVFAIL)), { rcode: 2, aa: false })
  const badVersion = read(emptyReply(queryOf({ name: 'web', version: 1 }), rcodes.BADVERS))
  t.match(badVersion, { rcode: 0, opt: { extendedRcode: 1, ednsVersion: 0 } })
  t.same(bareReply(question({ name: 'web', id: 9 }), rcodes.FORMERR).readUInt16BE(2) & 0x800f, 0x8001)
})

t.test('a relayed answer keeps its records in their sections', async (t) => {
  const asked = question({ name: '_http._tcp.web', type: 'SRV', id: 5, payload: 1232 })
  const query = queryOf({ name: '_http._tcp.web', type: 'SRV', id: 5, payload: 1232 })
  const upstream = response(asked, {
    flags: flags.authoritative | AUTHENTIC_DATA | RECURSION_DESIRED,
    answers: [srv('_http._tcp.web', 'a.web')],
    authorities: [soa],
    additionals: [a('a.web', '10.0.0.7')],
  })
  upstream.writeUInt16BE(4242, 0)
  const parsed = parseResponse(upstream, query, 4242)
  t.equal(parsed.kind, 'response')
  if (parsed.kind !== 'response') return
  t.match(read(relayedReply(query, parsed.bytes, { limit: 1232, exists: false })), {
    id: 5,
    aa: false,
    ad: true,
    rd: true,
    answers: { length: 1 },
    authorities: { length: 1 },
    additionals: ['a.web A 10.0.0.7'],
  })
})

t.test('"no such name" stays that, unless the mesh has the name', async (t) => {
  const query = queryOf({ name: 'db.example.com', type: 'TXT' })
  const upstream = response(question({ name: 'db.example.com', type: 'TXT' }), {
    flags: 3,
    authorities: [soa],
  })
  const relay = (exists: boolean) => read(relayedReply(query, upstream, { limit: 512, exists }))
  t.match(relay(false), { rcode: 3, authorities: { length: 1 } })
  t.match(relay(true), { rcode: 0, answers: [], authorities: { length: 1 } })
})

t.test('a relayed answer that is too long loses its tail, extras first', async (t) => {
  const query = queryOf({ name: 'web' })
  const relay = (bytes: Buffer, limit: number) => read(relayedReply(query, bytes, { limit, exists: false }))
  const asked = question({ name: 'web' })
  const extras = response(asked, {
    answers: [a('web', '10.0.0.1')],
    additionals: many(60).map((address, n) => a(`x${n}.web`, address)),
  })
  t.match(
    relay(extras, 512),
    { tc: false, answers: { length: 1 } },
    'extras alone are not worth a second question',
  )
  t.ok(relay(extras, 512).bytes <= 512)
  const long = response(asked, { answers: many(100).map((address) => a('web', address)), authorities: [soa] })
  const cut = relay(long, 512)
  t.match(cut, { tc: true, authorities: [] })
  t.ok(cut.bytes <= 512 && cut.bytes > 480 && cut.answers.length > 20, `${cut.bytes} bytes`)
  t.match(relay(long, 65_535), { tc: false, answers: { length: 100 }, authorities: { length: 1 } })
  const opt: Answer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: 1232,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  }
  const withOpt = response(asked, {
    answers: many(100).map((address) => a('web', address)),
    additionals: [opt],
  })
  t.match(relay(withOpt, 600), { tc: true, opt: { udpPayloadSize: 1232 } })
  const opted = response(asked, {
    answers: [a('web', '10.0.0.1')],
    additionals: [opt, ...many(60).map((x) => a('web', x))],
  })
  t.match(relay(opted, 512), { tc: false, answers: { length: 1 }, opt: { udpPayloadSize: 1232 } })
})

t.test('only an answer to this very question is one', async (t) => {
  const query = queryOf({ name: 'Web.example', id: 7 })
  const sound = response(question({ name: 'web.EXAMPLE', id: 7 }), {
    answers: [a('web.example', '10.0.0.1')],
  })
  const kind = (bytes: Buffer, id = 7) => {
    const parsed = parseResponse(bytes, query, id)
    return parsed.kind === 'stray' ? parsed.reason : parsed.kind
  }
  const edited = (edit: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(sound)
    edit(bytes)
    return bytes
  }
  t.equal(kind(sound), 'response', 'the case of letters is the server’s own')
  t.equal(kind(sound, 8), 'id')
  t.equal(kind(question({ name: 'web.example', id: 7 })), 'header')
  t.equal(kind(response(question({ name: 'wob.example', id: 7 }), {})), 'question')
  t.equal(kind(response(question({ name: 'web.example', type: 'AAAA', id: 7 }), {})), 'question')
  t.equal(kind(encode({ type: 'response', id: 7, questions: [] })), 'question')
  t.equal(kind(edited((b) => b.writeUInt16BE(9, 6))), 'broken', 'more records than there are')
  t.equal(kind(edited((b) => b.writeUInt16BE(0xc0ff, b.length - 16))), 'broken', 'a pointer ahead')
  t.equal(kind(sound.subarray(0, -1)), 'broken')
  t.equal(
    kind(edited((b) => void (b.writeUInt16BE(9, 6), b.writeUInt16BE(0x8000 | TRUNCATED_RESPONSE, 2)))),
    'response',
  )
  const bare = bareReply(question({ name: 'web.example', id: 7 }), rcodes.NOTIMP)
  t.equal(kind(bare), 'response', 'a server that answers with a header alone')
  t.equal(kind(bareReply(question({ name: 'web.example', id: 7 }), rcodes.NOERROR)), 'question')
})

t.test('an alias that points to itself does not reach the app', async (t) => {
  const query = queryOf({ name: 'web', id: 7 })
  const loop = Buffer.concat([
    query.bytes,
    Buffer.from([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, query.question.end + 12]),
  ])
  loop.writeUInt16BE(0x8180, 2)
  loop.writeUInt16BE(1, 6)
  t.equal(parseResponse(loop, query, 7).kind, 'broken')
})
