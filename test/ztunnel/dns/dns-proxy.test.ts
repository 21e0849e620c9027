import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { startLogging } from '#telemetry'
import { InFlight } from '../../../ztunnel/dns/index.ts'
import { standardTimes } from '../../../ztunnel/dns/times.ts'
import { type MeshState, parseService, parseWorkload } from '../../../ztunnel/state/index.ts'
import { serviceWire, workloadWire } from '../../fakes/mesh.ts'
import { until } from '../../fakes/until.ts'
import { a, question, read, response } from './kit.ts'
import { askTcp, askUdp, framed, proxy, upstream } from './servers.ts'

/** A headless service with more endpoints than one answer names. */
function manyEndpoints(state: MeshState): void {
  const services = { 'demo/many.demo.svc.cluster.local': { 80: 80 } }
  state.apply({
    services: [parseService(serviceWire({ name: 'many' }))],
    workloads: Array.from({ length: 2_500 }, (_, n) =>
      parseWorkload(workloadWire({ name: `p${n}`, addresses: [`10.7.${n >> 8}.${n & 255}`], services })),
    ),
  })
}

const metric = async ({ registry }: Awaited<ReturnType<typeof proxy>>, line: RegExp) =>
  (await registry.metrics()).split('\n').filter((each) => line.test(each))

t.test('names of the mesh are answered, over UDP and TCP, and nobody else is asked', async (t) => {
  await using other = await upstream(({ bytes }) => response(bytes, { flags: 3 }))
  await using dns = await proxy([other.address])
  const bytes = question({ name: 'web.demo', id: 3 })
  t.match(read(await askUdp(dns.address, bytes)), {
    id: 3,
    rcode: 0,
    aa: true,
    answers: ['web.demo A 10.0.0.1'],
  })
  const replies = await askTcp(dns.address, framed(bytes))
  t.match(read(replies[0]), { id: 3, rcode: 0, answers: ['web.demo A 10.0.0.1'] })
  t.match(read(await askUdp(dns.address, question({ name: 'web', type: 'AAAA' }))), {
    rcode: 0,
    aa: true,
    answers: [],
  })
  t.match(read(await askUdp(dns.address, question({ name: 'example.com.demo.svc.cluster.local' }))).answers, [
    'example.com.demo.svc.cluster.local CNAME example.com',
    'example.com A 240.0.0.1',
  ])
  t.equal(other.seen.length, 0)
})

t.test('other names and types are forwarded, and counted under ztunnel’s names', async (t) => {
  await using other = await upstream(({ bytes }) => {
    const { question: asked } = read(bytes)
    if (asked?.type === 'SRV')
      return response(bytes, {
        answers: [{ type: 'SRV', name: asked.name, data: { target: 'a.web', port: 80 } }],
        additionals: [a('a.web', '10.5.0.1')],
      })
    return response(
      bytes,
      asked?.name === 'no.example' ? { flags: 3 } : { answers: [a('yes.example', '9.9.9.9')] },
    )
  })
  await using dns = await proxy([other.address])
  t.match(read(await askUdp(dns.address, question({ name: 'yes.example', id: 8 }))), {
    id: 8,
    rcode: 0,
    answers: ['yes.example A 9.9.9.9'],
  })
  t.match(read(await askUdp(dns.address, question({ name: 'no.example' }))), { rcode: 3 })
  t.match(read((await askTcp(dns.address, framed(question({ name: '_http._tcp.web', type: 'SRV' }))))[0]), {
    answers: { length: 1 },
    additionals: ['a.web A 10.5.0.1'],
  })
  await askUdp(dns.address, question({ name: 'web' }))
  t.same(await metric(dns, /^istio_dns_(upstream_)?(requests|failures)_total/), [
    'istio_dns_requests_total{request_query_type="A",request_protocol="udp",source_canonical_service="unknown",source_canonical_revision="unknown"} 3',
    'istio_dns_requests_total{request_query_type="SRV",request_protocol="tcp",source_canonical_service="unknown",source_canonical_revision="unknown"} 1',
    'istio_dns_upstream_requests_total{request_query_type="A",request_protocol="udp",source_canonical_service="unknown",source_canonical_revision="unknown"} 2',
    'istio_dns_upstream_requests_total{request_query_type="SRV",request_protocol="tcp",source_canonical_service="unknown",source_canonical_revision="unknown"} 1',
  ])
  t.same(
    (await metric(dns, /^istio_dns_upstream_request_duration_seconds_bucket.*"A"/)).map(
      (line) => /le="([^"]+)"/.exec(line)?.[1],
    ),
    ['0.0005', '0.001', '0.01', '0.1', '1', '5', '+Inf'],
  )
  t.equal(dns.context.inFlight.count, 0)
  t.equal(dns.descriptors(), 0, 'all is given back')
})

t.test('an upstream outage: names of the mesh are answered, others fail, nothing piles up', async (t) => {
  await using dead = await upstream(() => undefined)
  const inFlight = new InFlight(10)
  await using dns = await proxy([dead.address], { inFlight, times: standardTimes })
  const waiting = Array.from({ length: 10 }, (_, n) =>
    askUdp(dns.address, question({ name: `x${n}.example` })),
  )
  await until(() => inFlight.count === 10, 'all of them wait')
  const begun = performance.now()
  t.match(
    read(await askUdp(dns.address, question({ name: 'more.example' }))),
    { rcode: 2 },
    'no room: told at once',
  )
  for (let n = 0; n < 50; n++)
    t.match(read(await askUdp(dns.address, question({ name: 'web' }))), { rcode: 0 })
  t.ok(performance.now() - begun < 3_000, 'none of that waited')
  for (const reply of await Promise.all(waiting)) t.match(read(reply), { rcode: 2, answers: [] })
  t.ok(performance.now() - begun < 5_000, 'before a resolver gives up')
  t.equal(inFlight.count, 0)
  t.same(await metric(dns, /refused_total.*in-flight/), ['lateen_dns_refused_total{reason="in-flight"} 1'])
  t.match(await metric(dns, /failures_total\{/), [/ 10$/])
})

t.test('a flood is dropped before it is looked at', async (t) => {
  await using dns = await proxy([])
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  const bytes = question({ name: 'web' })
  const dropped = async () => Number((await metric(dns, /refused_total.*"rate"/))[0]?.split(' ').at(-1) ?? 0)
  const end = performance.now() + 15_000
  while ((await dropped()) === 0 && performance.now() < end) {
    for (let n = 0; n < 100; n++) socket.send(bytes, dns.address.port, dns.address.address)
    await new Promise(setImmediate)
  }
  t.ok((await dropped()) > 0)
  socket.removeAllListeners('message')
  const reply = async () => askUdp(dns.address, bytes, 300)
  let late: Buffer | undefined
  while (late === undefined && performance.now() < end) late = await reply()
  t.match(read(late), { rcode: 0 }, 'and served again soon after')
})

t.test('a resolv.conf that names the proxy itself does not make it ask itself', async (t) => {
  await using first = await proxy([])
  await using dns = await proxy([first.address], { config: first.context.config })
  await first[Symbol.asyncDispose]()
  t.match(read(await askUdp(dns.address, question({ name: 'x.example' }))), { rcode: 2 })
  t.match(read((await askTcp(dns.address, framed(question({ name: 'x.example' }))))[0]), { rcode: 2 })
  t.match(await metric(dns, /istio_dns_requests_total\{/), [/ 1$/, / 1$/], 'asked twice, and not by itself')
})

t.test('malformed messages get a short no, or none', async (t) => {
  await using dns = await proxy([])
  const broken = question({ name: 'web' }).subarray(0, -3)
  const reply = await askUdp(dns.address, broken)
  t.equal(reply?.length, 12)
  t.equal((reply?.readUInt16BE(2) ?? 0) & 15, 1)
  t.equal(
    await askUdp(dns.address, response(question({ name: 'web' }), {}), 200),
    undefined,
    'an answer is not answered',
  )
  t.equal(
    ((await askTcp(dns.address, framed(response(question({ name: 'web' }), {}))))[0]?.readUInt16BE(2) ?? 0) &
      15,
    1,
  )
  t.match(read(await askUdp(dns.address, question({ name: 'web', version: 3 }))), {
    answers: [],
    opt: { extendedRcode: 1 },
  })
  t.match(read(await askUdp(dns.address, question({ name: 'web' }))), { rcode: 0 }, 'and life goes on')
})

t.test('many questions on one connection, answered as they come', async (t) => {
  await using slow = await upstream(({ bytes }) => response(bytes, { answers: [a('x.example', '9.9.9.9')] }))
  await using dns = await proxy([slow.address])
  const all = Array.from({ length: 100 }, (_, id) =>
    framed(question({ name: id % 2 === 0 ? 'web' : 'x.example', id })),
  )
  const replies = await askTcp(dns.address, Buffer.concat(all), 100)
  t.same(new Set(replies.map((reply) => read(reply).id)).size, 100)
  t.ok(replies.every((reply) => read(reply).rcode === 0))
})

t.test('a client that asks a lot and closes its side gets every answer', async (t) => {
  await using dns = await proxy([])
  manyEndpoints(dns.context.state)
  const one = framed(question({ name: 'many' }))
  const socket = connect({ host: dns.address.address, port: dns.address.port, allowHalfOpen: true })
  socket.end(Buffer.concat(Array.from({ length: 100 }, () => one)))
  let bytes = 0
  socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
  await once(socket, 'end')
  t.equal(bytes, 100 * (2 + 22 + 2_000 * 16))
})

t.test('a connection without a question ends, as does one with too long a one', async (t) => {
  await using dns = await proxy([])
  const socket = connect(dns.address.port, dns.address.address)
  socket.on('error', () => undefined)
  socket.write(Buffer.of(0xff, 0xff))
  await once(socket, 'close')
  t.equal(dns.descriptors(), 0)
})

t.test('a client that does not read its answers stops being read', async (t) => {
  await using dns = await proxy([])
  manyEndpoints(dns.context.state)
  const socket = connect(dns.address.port, dns.address.address)
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  const one = framed(question({ name: 'many' }))
  socket.write(Buffer.concat(Array.from({ length: 2_000 }, () => one)))
  await until(() => dns.descriptors() === 1, 'taken on')
  await until(() => dns.descriptors() === 0, 'and let go')
  const [line = ''] = await metric(dns, /istio_dns_requests_total\{/)
  t.ok(Number(line.split(' ').at(-1)) < 2_000, `64 MB were asked for: ${line}`)
})

t.test('a flood over TCP ends its connection', async (t) => {
  await using dns = await proxy([])
  const one = framed(question({ name: 'web' }))
  const flood = Buffer.concat(Array.from({ length: 60_000 }, () => one))
  t.ok((await askTcp(dns.address, flood, 60_000)).length < 60_000)
  t.same(await metric(dns, /refused_total.*"rate"/), ['lateen_dns_refused_total{reason="rate"} 1'])
})

t.test('more connections than a pod needs are refused, the others are served', async (t) => {
  await using dns = await proxy([])
  const sockets = Array.from({ length: 80 }, () => connect(dns.address.port, dns.address.address))
  let ended = 0
  for (const socket of sockets) socket.on('error', () => undefined).on('close', () => ended++)
  await until(() => ended === 16, 'the surplus is refused')
  t.equal(dns.descriptors(), 64)
  const reply = await askUdp(dns.address, question({ name: 'web' }))
  t.match(read(reply), { rcode: 0 })
  for (const socket of sockets) socket.destroy()
  await until(() => dns.descriptors() === 0, 'given back')
})

t.test('the log says who asked what and what came of it', async (t) => {
  await using other = await upstream(({ bytes }) => response(bytes, { flags: 3 }))
  const lines: string[] = []
  const logs = startLogging({ filter: 'dns=debug', write: (line) => lines.push(line) })
  await using dns = await proxy([other.address], { log: logs.root('dns') })
  await askUdp(dns.address, question({ name: 'Web.Demo' }))
  await askUdp(dns.address, question({ name: 'evil"\t.example', type: 'TXT' }))
  t.match(
    lines[0],
    /\tdebug\tdns\tdns query\tsrc\.workload="client" src\.namespace="demo" query="A" domain="web\.demo" result="success" endpoints=1\n$/,
  )
  t.match(
    lines[1],
    /query="TXT" domain="evil\\\\034\\\\009\.example" result="forwarded: NXDOMAIN" endpoints=0\n$/,
  )
})

t.test('when the pod goes, what waits is given up', async (t) => {
  await using dead = await upstream(() => undefined)
  const dns = await proxy([dead.address])
  void askUdp(dns.address, question({ name: 'x.example' }), 100)
  await until(() => dns.context.inFlight.count === 1, 'it waits')
  await dns[Symbol.asyncDispose]()
  await until(() => dns.context.inFlight.count === 0, 'given up')
  t.equal(await askUdp(dns.address, question({ name: 'web' }), 100), undefined)
})

t.test('draining: what was asked is answered, nothing more is taken', async (t) => {
  let release = () => {}
  const released = new Promise<void>((done) => (release = done))
  await using slow = await upstream(() => undefined)
  await using dns = await proxy([slow.address], {
    times: { deadlineMs: 400, nextAttemptMs: 5_000, idleMs: 500 },
  })
  const early = askUdp(dns.address, question({ name: 'x.example', id: 1 }))
  const stream = askTcp(dns.address, framed(question({ name: 'y.example', id: 2 })))
  await until(() => dns.context.inFlight.count === 2, 'both wait')
  const burst = Array.from({ length: 50 }, (_, id) => askUdp(dns.address, question({ name: 'web', id })))
  await new Promise(setImmediate)
  const drained = dns.drain().then(release)
  t.match(read(await early), { id: 1, rcode: 2 }, 'over UDP')
  t.match(read((await stream)[0]), { id: 2, rcode: 2 }, 'over TCP')
  t.equal((await Promise.all(burst)).filter((reply) => reply !== undefined).length, 50, 'and what was queued')
  await Promise.all([drained, released])
  t.equal(await askUdp(dns.address, question({ name: 'web' }), 100), undefined)
  t.equal((await askTcp(dns.address, framed(question({ name: 'web' })))).length, 0)
})

t.test('draining: who has just connected is answered, who is done is let go', async (t) => {
  await using dns = await proxy([])
  const [fresh, done] = [0, 1].map(() => connect(dns.address.port, dns.address.address))
  if (!fresh || !done) return
  done.write(framed(question({ name: 'web', id: 1 })))
  await once(done, 'data')
  await until(() => dns.descriptors() === 2, 'both are connected')
  const drained = dns.drain()
  done.resume()
  await once(done, 'end')
  done.end()
  fresh.write(framed(question({ name: 'web', id: 2 })))
  const [reply]: unknown[] = await once(fresh, 'data')
  t.match(Buffer.isBuffer(reply) && read(reply.subarray(2)), { id: 2, rcode: 0 })
  fresh.end()
  await drained
})

t.test('two proxies overlap: while one leaves, no question is lost', async (t) => {
  await using old = await proxy([])
  await using next = await proxy([], { config: old.context.config })
  const count = async (dns: typeof old) =>
    Number((await metric(dns, /istio_dns_requests_total\{/))[0]?.split(' ').at(-1) ?? 0)
  let asked = 0
  let answered = 0
  let going = true
  const askOn = async () => {
    while (going) {
      asked++
      if (await askUdp(old.address, question({ name: 'web' }), 2_000)) answered++
    }
  }
  const askers = [askOn(), askOn(), askOn(), askOn()]
  await until(() => answered > 100, 'both answer')
  t.ok((await count(old)) > 0 && (await count(next)) > 0, 'the kernel spreads the questions')
  await old.drain()
  const before = answered
  await until(() => answered > before + 100, 'the new one answers')
  going = false
  await Promise.all(askers)
  t.equal(answered, asked, 'none was lost')
})
