import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { until } from '../../fakes/until.ts'
import { a, question, read, response } from './kit.ts'
import { askTcp, askUdp, framed, manyEndpoints, metric, proxy, upstream } from './servers.ts'

/** Less than the slowest machine can ask and answer. */
const few = { perSecond: 50, burst: 100 }

t.test('a flood is dropped before it is looked at', async (t) => {
  await using dns = await proxy([], { rate: few })
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  const bytes = question({ name: 'web' })
  const dropped = async () => Number((await metric(dns, /refused_total.*"rate"/))[0]?.split(' ').at(-1) ?? 0)
  const end = performance.now() + 20_000
  while ((await dropped()) === 0 && performance.now() < end) {
    for (let n = 0; n < 100; n++) socket.send(bytes, dns.address.port, dns.address.address)
    await new Promise(setImmediate)
  }
  t.ok((await dropped()) > 0)
  socket.removeAllListeners('message')
  const reply = async () => askUdp(dns.address, bytes, 300)
  let late: Buffer | undefined
  while (late === undefined && performance.now() < end + 20_000) late = await reply()
  t.match(read(late), { rcode: 0 }, 'and served again soon after')
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
  await using dns = await proxy([], { rate: few })
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
