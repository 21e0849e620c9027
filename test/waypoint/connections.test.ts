/** What a destination's policy says of connections, seen from both ends of them: clients that are not HTTP. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { ip } from '#base'
import { bindSocket, boundAddress, closeFd, listenSocket, tcpSocket } from '#linux'
import type { ConnectionLimits, DestinationPolicy } from '#routes'
import { eventually } from '../fakes/mesh-world.ts'
import { policyOf, type Scene, scene, tcpUpstream } from './kit.ts'

const limited = (limits: Partial<ConnectionLimits>) =>
  policyOf({ connections: { ...policyOf({}).connections, ...limits } })

/** A connection through the waypoint, and what its server said. */
async function open(t: Test, s: Scene) {
  const socket = connect({ host: '127.0.0.1', port: await s.front(), allowHalfOpen: true })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  let text = ''
  let closed = false
  socket.on('data', (part: Buffer) => void (text += part.toString('latin1')))
  for (const event of ['end', 'close']) socket.on(event, () => void (closed = true))
  /** The waypoint says no more. */
  return { socket, text: () => text, closed: () => closed }
}

/** What a waypoint of web says of its connections, in its log. */
const errorsOf = (s: Scene) =>
  s.running.lines.flatMap((line) =>
    typeof line['error'] === 'string' && line['message'] === 'connection complete' ? [line['error']] : [],
  )

/** `way`: how bytes go: `tcp` is declared, and all of them by the kernel; `auto` is found out first. */
const ways = ['tcp', 'auto'] as const
const tcpScene = async (
  t: Test,
  way: (typeof ways)[number],
  policy: DestinationPolicy,
  onSocket: (socket: Socket) => void,
) => {
  const a = await tcpUpstream(t, '127.0.0.2', onSocket)
  const s = await scene(t, { a }, { PROTOCOL_DETECTION_TIMEOUT: '10ms' })
  await s.route({ protocol: way }, [policy])
  return s
}

for (const way of ways) {
  t.test(`${way}: one more than maxConnections is refused, until one of them ends`, async (t) => {
    const s = await tcpScene(t, way, limited({ maxConnections: 1 }), (socket) => {
      socket.write('hello')
      socket.on('end', () => socket.end())
    })
    const first = await open(t, s)
    await eventually(() => first.text() === 'hello', 'the first is served')
    const second = await open(t, s)
    await eventually(second.closed, 'the second is not')
    t.equal(second.text(), '')
    t.match(errorsOf(s), [/as many connections as it may have/])
    first.socket.end()
    await eventually(first.closed, 'the first is over')
    await eventually(async () => {
      const next = await open(t, s)
      await eventually(() => next.text() === 'hello' || next.closed(), 'the next is answered')
      next.socket.end()
      return next.text() === 'hello'
    }, 'there is room again')
  })

  t.test(`${way}: a connection over which nothing moves is closed, one that is used is not`, async (t) => {
    const s = await tcpScene(
      t,
      way,
      limited({ tcpIdleTimeoutMs: 2_000 }),
      (socket) => void socket.pipe(socket),
    )
    const [used, idle] = [await open(t, s), await open(t, s)]
    idle.socket.write('x')
    const talking = setInterval(() => used.socket.write('.'), 20)
    t.teardown(() => clearInterval(talking))
    await eventually(idle.closed, 'the idle one is closed')
    t.equal(idle.text(), 'x')
    t.notOk(used.closed(), 'the other one is not')
    t.match(errorsOf(s), [/nothing was sent for 2000 ms/])
  })

  t.test(`${way}: a connection is not older than it may be, however it is used`, async (t) => {
    const broken: string[] = []
    const s = await tcpScene(t, way, limited({ maxConnectionDurationMs: 300 }), (socket) => {
      socket.on('error', ({ code }: NodeJS.ErrnoException) => broken.push(`upstream ${code}`))
      socket.pipe(socket)
    })
    const one = await open(t, s)
    one.socket.on('error', ({ code }: NodeJS.ErrnoException) => broken.push(`client ${code}`))
    one.socket.on('end', () => broken.push('client told of an end'))
    const talking = setInterval(() => one.socket.write('.'), 20)
    t.teardown(() => clearInterval(talking))
    await eventually(() => broken.length === 2, 'it is broken off')
    t.ok(one.text().length > 0)
    // EPIPE: told while it wrote.
    t.match(
      broken.sort(),
      [/^client (ECONNRESET|EPIPE)$/, /^upstream (ECONNRESET|EPIPE)$/],
      'no end to either',
    )
    t.match(errorsOf(s), [/was open for 300 ms/])
  })

  for (const [version, beginning] of [
    ['v1', /^PROXY TCP4 127\.0\.0\.1 10\.96\.0\.10 \d+ 80\r\nhi$/],
    ['v2', /^0d0a0d0a000d0a515549540a2111000c7f0000010a60000a[0-9a-f]{4}00506869$/],
  ] as const)
    t.test(`${way}: a PROXY header (${version}) says who calls, before anything else`, async (t) => {
      let got = ''
      const s = await tcpScene(t, way, policyOf({ proxyProtocol: version }), (socket) => {
        socket.on('data', (part: Buffer) => void (got += part.toString('latin1')))
      })
      const one = await open(t, s)
      one.socket.write('hi')
      await eventually(() => got.endsWith('hi'), 'all is there')
      t.match(version === 'v1' ? got : Buffer.from(got, 'latin1').toString('hex'), beginning)
    })
}

t.test('a client that is not HTTP stays with the host that its address is hashed to', async (t) => {
  const seen = new Map<string, number>()
  const upstream = async (host: string) => {
    seen.set(host, 0)
    return tcpUpstream(t, host, (socket) => {
      seen.set(host, (seen.get(host) ?? 0) + 1)
      socket.end('hello')
    })
  }
  const [a, b, c] = [await upstream('127.0.0.2'), await upstream('127.0.0.3'), await upstream('127.0.0.4')]
  const s = await scene(t, { a, b, c })
  const keys = [{ kind: 'source-ip' }] as const
  await s.route({ protocol: 'tcp' }, [policyOf({ loadBalancer: { kind: 'maglev', tableSize: 251, keys } })])
  for (let i = 0; i < 12; i++) {
    const one = await open(t, s)
    await eventually(() => one.text() === 'hello', 'it is answered')
    one.socket.end()
  }
  t.same(
    [...seen.values()].sort((x, y) => x - y),
    [0, 0, 12],
  )
})

t.test('an endpoint that does not answer in time is passed over', async (t) => {
  // Nobody accepts here: beyond a connection or two the kernel does not even answer.
  const fd = tcpSocket({ family: 'ipv4' })
  t.teardown(() => closeFd(fd))
  bindSocket(fd, { address: ip('127.0.0.3'), port: 0 })
  listenSocket(fd, 0)
  const { port } = boundAddress(fd)
  for (let i = 0; i < 4; i++) {
    const filler = connect({ host: '127.0.0.3', port })
    filler.on('error', () => undefined)
    t.teardown(() => filler.destroy())
  }
  const good = await tcpUpstream(t, '127.0.0.2', (socket) => void socket.end('hello'))
  const s = await scene(t, { good, mute: { address: '127.0.0.3', port } })
  await s.route({ protocol: 'tcp' }, [
    { ...limited({ connectTimeoutMs: 1_000 }), loadBalancer: { kind: 'round-robin' } },
  ])
  for (let i = 0; i < 4; i++) {
    const one = await open(t, s)
    await eventually(() => one.text() === 'hello', 'the other endpoint answers')
  }
  t.same(errorsOf(s), [])
})

/** Of the connections of this network namespace to a port: which timer runs, and when it fires (proc(5): 2 is keep-alive). */
function timersTo(port: number): readonly Readonly<{ kind: number; inTicks: number }>[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[2]?.endsWith(wanted) && fields[3] === '01')
    .map((fields) => {
      const [kind = '', when = ''] = (fields[5] ?? '').split(':')
      return { kind: Number.parseInt(kind, 16), inTicks: Number.parseInt(when, 16) }
    })
}

t.test('the kernel asks a silent server whether it is there', async (t) => {
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => void socket.write('hello'))
  const s = await scene(t, { a })
  const one = async (limits: Partial<ConnectionLimits>) => {
    await s.route({ protocol: 'tcp' }, [limited(limits)])
    const opened = await open(t, s)
    await eventually(() => opened.text() === 'hello', 'it is open')
    await eventually(() => timersTo(a.port).every(({ kind }) => kind !== 1), 'nothing is on its way')
    return opened
  }
  await one({})
  t.same(
    timersTo(a.port).map(({ kind }) => kind),
    [0],
    'not of itself',
  )
  await one({ tcpKeepAlive: { probes: 3, timeMs: 600_000, intervalMs: 5_000 } })
  const [asked] = timersTo(a.port).filter(({ kind }) => kind === 2)
  const ticks = asked?.inTicks ?? 0
  t.ok(ticks > 500 * 100 && ticks <= 600 * 100, `${ticks} ticks of 10 ms`)
})

const proxies: [title: string, answer: string, got: string, error?: RegExp][] = [
  ['which connects', 'HTTP/1.1 200 OK\r\n\r\nhello ', 'hello <hi>'],
  ['which says more than it must', 'HTTP/1.1 100 Go\r\n\r\nHTTP/1.0 299 Fine\r\nx: y\r\n\r\n', '<hi>'],
  ['which refuses', 'HTTP/1.1 403 No\r\n\r\n', '', /did not connect to \[fd00::7\]:5432: it answered 403/],
  ['which speaks no HTTP', 'SSH-2.0\r\n\r\n', '', /it answered no HTTP/],
  ['whose answer has no end', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}`, '', /its answer has no end/],
]
for (const way of ways)
  for (const [title, answer, got, error] of proxies)
    t.test(`${way}: a connection through a proxy ${title}`, async (t) => {
      let asked = ''
      const tunnel = { method: 'CONNECT', host: 'fd00::7', port: 5_432 } as const
      const s = await tcpScene(t, way, policyOf({ tunnel }), (socket) => {
        socket.on('data', (part: Buffer) => {
          const before = asked
          asked += part.toString('latin1')
          if (!before.endsWith('\r\n\r\n') && asked.endsWith('\r\n\r\n')) socket.write(answer)
          else if (before !== '') socket.end(`<${part.toString('latin1')}>`)
        })
      })
      const one = await open(t, s)
      one.socket.write('hi')
      await eventually(one.closed, 'it is over')
      t.equal(one.text(), got)
      const target = '[fd00::7]:5432'
      const head = `CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n`
      t.ok(asked.startsWith(head), asked)
      if (error) t.match(errorsOf(s)[0], error)
      else t.equal(asked, `${head}hi`)
    })

t.test('closing a client before the server has spoken leaves nothing counted', async (t) => {
  const s = await tcpScene(t, 'auto', limited({ maxConnections: 1 }), () => undefined)
  for (let i = 0; i < 3; i++) {
    const one = await open(t, s)
    one.socket.destroy()
    await once(one.socket, 'close')
  }
  await eventually(async () => {
    const next = await open(t, s)
    next.socket.write('x')
    const refused = errorsOf(s).filter((error) => /as many/.test(error)).length
    await new Promise((done) => setTimeout(done, 50))
    const isOpen = !next.closed() && errorsOf(s).filter((error) => /as many/.test(error)).length === refused
    next.socket.destroy()
    return isOpen
  }, 'a new one is let through')
})
