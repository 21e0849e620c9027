import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { decode, encode, type Answer, type Packet, type RecordType } from 'dns-packet'
import t from 'tap'
import { type Ip, ip, ipToBytes, isIpv6 } from '#base'
import { type EndpointSlice, fixed, keyOf, type KubeObject, type Service } from '#kube'
import { silent } from '#telemetry'
import { answerQuery } from '../../../sandbox/node-services/dns-answer.ts'
import { serveDns } from '../../../sandbox/node-services/dns-server.ts'
import { dnsZone, reverseAddress } from '../../../sandbox/node-services/dns-zone.ts'

/** The name that asks whose address this is. */
const reverseName = (ip: Ip): string =>
  isIpv6(ip)
    ? `${Buffer.from(ipToBytes(ip)).toString('hex').split('').toReversed().join('.')}.ip6.arpa`
    : `${ip.split('.').toReversed().join('.')}.in-addr.arpa`

const rows = <T extends KubeObject>(name: string, list: readonly T[]) =>
  fixed(name, Object.fromEntries(list.map((row) => [keyOf(row), row])))
const service = (name: string, spec: Service['spec']): Service => ({
  metadata: { name, namespace: 'shop' },
  spec: spec ?? {},
})
const slice = (
  of: string,
  addressType: 'IPv4' | 'IPv6',
  endpoints: EndpointSlice['endpoints'],
): EndpointSlice => ({
  metadata: {
    name: `${of}-${addressType}`,
    namespace: 'shop',
    labels: { 'kubernetes.io/service-name': of },
  },
  addressType,
  endpoints: endpoints ?? [],
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
})
const http = [{ name: 'http', port: 80, protocol: 'TCP' }]
const many = Array.from({ length: 60 }, (_, i) => ({
  addresses: [`fd00:10:244:9::${(i + 1).toString(16)}`],
  conditions: { ready: true },
}))
const services = rows('services', [
  service('order', { clusterIP: '10.96.0.50', clusterIPs: ['10.96.0.50', 'fd00:10:96::50'], ports: http }),
  service('db', { clusterIP: 'None', ports: http }),
  service('idle', { clusterIP: 'None', ports: http }),
  service('many', { clusterIP: 'None', ports: http }),
  service('out', { type: 'ExternalName', externalName: 'order.shop.svc.cluster.local' }),
  service('far', { type: 'ExternalName', externalName: 'example.org' }),
])
const slices = rows('slices', [
  slice('order', 'IPv4', [{ addresses: ['10.244.1.5'], conditions: { ready: true } }]),
  slice('db', 'IPv4', [
    { addresses: ['10.244.1.7'], hostname: 'db-0', conditions: { ready: true } },
    { addresses: ['10.244.2.7'], conditions: { ready: true } },
    { addresses: ['10.244.2.8'], conditions: { ready: false } },
    { addresses: ['garbage'], conditions: { ready: true } },
  ]),
  slice('db', 'IPv6', [{ addresses: ['fd00:10:244:1::7'], hostname: 'db-0', conditions: { ready: true } }]),
  slice('many', 'IPv6', many),
])
const domain = 'cluster.local'
const resolve = dnsZone({ services, slices, domain })
const options = { resolve, domain, random: () => 0 }

const rcodeOf = ({ flags = 0 }: Packet) => flags & 0xf
const question = (name: string, type: RecordType, more: Packet = {}) =>
  encode({ type: 'query', id: 7, flags: 256, questions: [{ name, type, class: 'IN' }], ...more })
function ask(name: string, type: RecordType, transport: 'udp' | 'tcp' = 'udp', more: Packet = {}): Packet {
  const answer = answerQuery(question(name, type, more), { ...options, transport })
  if (!answer) throw new Error('no answer')
  return decode(answer)
}
const shown = (packet: Packet) => {
  const codes: Record<number, string> = { 0: '', 1: 'FORMERR', 3: 'NXDOMAIN', 4: 'NOTIMP', 5: 'REFUSED' }
  const answers = (packet.answers ?? []).map((record) => {
    if (record.type === 'SRV') return `${record.data.port} ${record.data.target}`
    if (record.type === 'TXT')
      return `TXT ${[record.data]
        .flat()
        .map((part) => part.toString())
        .join('')}`
    return 'data' in record && typeof record.data === 'string' ? `${record.type} ${record.data}` : record.type
  })
  return [codes[rcodeOf(packet)], ...answers].filter(Boolean).join(', ')
}

const cases: [string, RecordType, string][] = [
  ['order.shop.svc.cluster.local', 'A', 'A 10.96.0.50'],
  ['order.shop.svc.cluster.local', 'AAAA', 'AAAA fd00:10:96::50'],
  ['order.shop.svc.cluster.local', 'TXT', ''],
  ['OrDer.Shop.SVC.cluster.LOCAL', 'A', 'A 10.96.0.50'],
  ['payment.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['order.bank.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['order.shop.cluster.local', 'A', 'NXDOMAIN'],
  ['shop.svc.cluster.local', 'A', ''],
  ['bank.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['svc.cluster.local', 'A', ''],
  ['cluster.local', 'A', ''],
  ['_http._tcp.order.shop.svc.cluster.local', 'SRV', '80 order.shop.svc.cluster.local'],
  ['_http._udp.order.shop.svc.cluster.local', 'SRV', 'NXDOMAIN'],
  ['_https._tcp.order.shop.svc.cluster.local', 'SRV', 'NXDOMAIN'],
  ['_tcp.order.shop.svc.cluster.local', 'SRV', ''],
  ['a.b.c.order.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['db.shop.svc.cluster.local', 'A', 'A 10.244.1.7, A 10.244.2.7'],
  ['db.shop.svc.cluster.local', 'AAAA', 'AAAA fd00:10:244:1::7'],
  ['db-0.db.shop.svc.cluster.local', 'A', 'A 10.244.1.7'],
  ['db-0.db.shop.svc.cluster.local', 'AAAA', 'AAAA fd00:10:244:1::7'],
  ['10-244-2-7.db.shop.svc.cluster.local', 'A', 'A 10.244.2.7'],
  ['10-244-2-8.db.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['db-1.db.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['idle.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
  [
    '_http._tcp.db.shop.svc.cluster.local',
    'SRV',
    '8080 db-0.db.shop.svc.cluster.local, 8080 10-244-2-7.db.shop.svc.cluster.local',
  ],
  ['out.shop.svc.cluster.local', 'A', 'CNAME order.shop.svc.cluster.local, A 10.96.0.50'],
  ['out.shop.svc.cluster.local', 'CNAME', 'CNAME order.shop.svc.cluster.local'],
  ['far.shop.svc.cluster.local', 'A', 'CNAME example.org'],
  ['10-244-1-5.shop.pod.cluster.local', 'A', 'A 10.244.1.5'],
  ['fd00-10-244-1--5.shop.pod.cluster.local', 'AAAA', 'AAAA fd00:10:244:1::5'],
  ['nobody.shop.pod.cluster.local', 'A', 'NXDOMAIN'],
  ['50.0.96.10.in-addr.arpa', 'PTR', 'PTR order.shop.svc.cluster.local'],
  ['7.1.244.10.in-addr.arpa', 'PTR', 'PTR db-0.db.shop.svc.cluster.local'],
  [reverseName(ip('fd00:10:96::50')), 'PTR', 'PTR order.shop.svc.cluster.local'],
  ['1.0.0.127.in-addr.arpa', 'PTR', 'NXDOMAIN'],
  ['dns-version.cluster.local', 'TXT', 'TXT 1.1.0'],
  ['example.org', 'A', 'REFUSED'],
  ['notcluster.local', 'A', 'REFUSED'],
  ['localhost', 'A', 'REFUSED'],
]
for (const [name, type, want] of cases)
  t.test(`${type} ${name} → ${want || 'nothing, but the name exists'}`, async (t) => {
    t.equal(shown(ask(name, type)), want)
  })

t.test('an answer repeats ID, question and its spelling, and is authoritative', async (t) => {
  const packet = ask('Order.shop.svc.cluster.local', 'A')
  t.match(packet, {
    type: 'response',
    id: 7,
    questions: [{ name: 'Order.shop.svc.cluster.local', type: 'A' }],
  })
  t.equal((packet.flags ?? 0) & 0x0500, 0x0500)
  t.match(packet.answers?.[0], { name: 'Order.shop.svc.cluster.local', ttl: 5 })
})

t.test('"no" says how long it holds', async (t) => {
  t.match(ask('nope.shop.svc.cluster.local', 'A').authorities, [
    { type: 'SOA', name: 'cluster.local', data: { minimum: 5 } },
  ])
  t.match(ask('order.shop.svc.cluster.local', 'TXT').authorities, [{ type: 'SOA' }])
  t.same(ask('example.org', 'A').authorities, [])
})

t.test('SRV answers bring the addresses of their targets', async (t) => {
  const { additionals = [] } = ask('_http._tcp.order.shop.svc.cluster.local', 'SRV')
  t.same(
    additionals.map((record) => ('data' in record ? record.data : '')),
    ['10.96.0.50', 'fd00:10:96::50'],
  )
})

t.test('the first of several addresses changes', async (t) => {
  const firstOf = (random: number) => {
    const message = question('db.shop.svc.cluster.local', 'A')
    const answer = answerQuery(message, { ...options, transport: 'udp', random: () => random })
    return answer && shown(decode(answer))
  }
  t.equal(firstOf(0.1), 'A 10.244.1.7, A 10.244.2.7')
  t.equal(firstOf(0.9), 'A 10.244.2.7, A 10.244.1.7')
})

t.test('what does not fit is truncated over UDP and whole over TCP', async (t) => {
  const name = 'many.shop.svc.cluster.local'
  const cut = ask(name, 'AAAA')
  t.ok((cut.flags ?? 0) & 0x200, 'truncated')
  t.same(cut.answers, [])
  const opt: Answer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: 65_000,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  }
  const message = question(name, 'AAAA', { additionals: [opt] })
  const big = answerQuery(message, { ...options, transport: 'udp' })
  t.ok(big && big.length <= 1232)
  const whole = ask(name, 'AAAA', 'tcp')
  t.equal(whole.answers?.length, 60)
  t.notOk((whole.flags ?? 0) & 0x200)
})

t.test('whatever the bytes are, nothing is thrown and answers are never answered', async (t) => {
  const good = question('order.shop.svc.cluster.local', 'A')
  let state = 42
  const random = () => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) / 2 ** 32
  for (let round = 0; round < 6_000; round++) {
    const bytes = round % 2 === 0 ? Buffer.from(good) : Buffer.alloc(Math.floor(random() * 80))
    const changes = round % 2 === 0 ? 1 + Math.floor(random() * 4) : bytes.length
    for (let i = 0; i < changes; i++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
    const cut = bytes.subarray(0, Math.floor(random() * (bytes.length + 1)))
    for (const message of [bytes, cut]) {
      const answer = answerQuery(message, { ...options, transport: 'udp' })
      if (answer && (message.length < 12 || (message[2] ?? 0) & 0x80))
        return t.fail('answered what is no question')
      if (answer && !answer.subarray(0, 2).equals(message.subarray(0, 2)))
        return t.fail('answered another ID')
    }
  }
  t.equal(answerQuery(encode({ type: 'response', id: 1 }), { ...options, transport: 'udp' }), undefined)
  const statusRequest = Buffer.from(good)
  statusRequest[2] = 0x10
  const refused = answerQuery(statusRequest, { ...options, transport: 'udp' })
  t.equal((refused?.[3] ?? 0) & 0xf, 4)
  const loop = Buffer.concat([
    Buffer.from('000701000001000000000000', 'hex'),
    Buffer.from('c00c00010001', 'hex'),
  ])
  t.equal(
    (answerQuery(loop, { ...options, transport: 'udp' })?.[3] ?? 0) & 0xf,
    1,
    'a name that points to itself',
  )
})

t.test('an alias that points to itself ends', async (t) => {
  const self = rows('services', [
    service('me', { type: 'ExternalName', externalName: 'me.shop.svc.cluster.local' }),
  ])
  const looping = { ...options, resolve: dnsZone({ services: self, slices, domain }) }
  const answer = answerQuery(question('me.shop.svc.cluster.local', 'A'), { ...looping, transport: 'tcp' })
  t.ok(answer && decode(answer).answers?.length)
})

t.test('names of addresses and back', async (t) => {
  for (const text of ['10.96.0.10', 'fd00:10:96::a']) t.equal(reverseAddress(reverseName(ip(text))), text)
  for (const name of ['10.in-addr.arpa', 'x.ip6.arpa', '300.1.1.1.in-addr.arpa'])
    t.equal(reverseAddress(name), undefined)
})

t.test('real sockets: UDP, and several questions over one TCP connection in odd pieces', async (t) => {
  for (const address of [ip('127.0.0.1'), ip('::1')]) {
    await using server = await serveDns({ address, port: 0, resolve, domain, log: silent })
    const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    udp.send(Buffer.from('hostile'), server.port, address)
    udp.send(question('order.shop.svc.cluster.local', 'A'), server.port, address)
    const [message] = await once(udp, 'message')
    t.equal(shown(decode(message)), 'A 10.96.0.50')
    udp.close()

    const framed = (name: string) => {
      const bytes = question(name, 'A')
      return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
    }
    const both = Buffer.concat([
      framed('order.shop.svc.cluster.local'),
      framed('none.shop.svc.cluster.local'),
    ])
    const tcp = connect(server.port, address)
    tcp.setNoDelay(true)
    tcp.write(both.subarray(0, 1))
    tcp.write(both.subarray(1, 40))
    tcp.write(both.subarray(40))
    let held = Buffer.alloc(0)
    const answers: string[] = []
    for await (const chunk of tcp as AsyncIterable<Buffer>) {
      held = Buffer.concat([held, chunk])
      while (held.length > 2 && held.length >= 2 + held.readUInt16BE(0)) {
        answers.push(shown(decode(held.subarray(2, 2 + held.readUInt16BE(0)))))
        held = held.subarray(2 + held.readUInt16BE(0))
      }
      if (answers.length === 2) break
    }
    t.same(answers, ['A 10.96.0.50', 'NXDOMAIN'])
    const rude = connect(server.port, address)
    rude.end(Buffer.from([0, 3, 1, 2, 3]))
    await once(rude, 'close')
    t.equal(shown(ask('order.shop.svc.cluster.local', 'A')), 'A 10.96.0.50')
  }
})
