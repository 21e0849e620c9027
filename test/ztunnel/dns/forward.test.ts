import t from 'tap'
import { ip, MeshError } from '#base'
import { closeFd, tcpSocket, udpSocket } from '#linux'
import type { OpenSocket } from '../../../ztunnel/dns/ask.ts'
import { forward, type ForwardOptions } from '../../../ztunnel/dns/forward.ts'
import { a, queryOf, read, response } from './kit.ts'
import { type Behaviour, upstream } from './servers.ts'

const open: OpenSocket = (kind, family) => (kind === 'udp' ? udpSocket : tcpSocket)({ family })
/** Whoever answers does so in time, however slow the machine. */
const calm = { deadlineMs: 20_000, nextAttemptMs: 20_000 }
/** For those of whom one does not answer, and for those of whom none does. */
const quick = { deadlineMs: 20_000, nextAttemptMs: 500 }
const soon = { deadlineMs: 1_500, nextAttemptMs: 150 }
const good =
  (data = '10.0.0.1'): Behaviour =>
  ({ bytes }) =>
    response(bytes, { answers: [a('web', data)] })
const rcode =
  (flags: number): Behaviour =>
  ({ bytes }) =>
    response(bytes, { flags })

async function ask(
  options: Pick<ForwardOptions, 'servers'> & Partial<ForwardOptions>,
  draft: Parameters<typeof queryOf>[0] = { name: 'web' },
): Promise<string> {
  const signal = options.signal ?? new AbortController().signal
  try {
    const reply = await forward(queryOf(draft), { transport: 'udp', open, times: calm, signal, ...options })
    const { answers, tc } = read(reply.bytes)
    return `${reply.rcode}${tc ? ' cut' : ''} ${answers.map((each) => each.split(' ').at(-1)).join(' ')}`.trim()
  } catch (error) {
    return error instanceof MeshError ? error.code : String(error)
  }
}

t.test('the first server that answers is enough', async (t) => {
  await using one = await upstream(good())
  await using two = await upstream(good('10.0.0.2'))
  t.equal(await ask({ servers: [one.address, two.address] }), '0 10.0.0.1')
  t.equal(two.seen.length, 0, 'nobody else is asked')
})

t.test('a question goes out under an ID and a port of its own', async (t) => {
  await using one = await upstream(good())
  for (let n = 0; n < 20; n++) await ask({ servers: [one.address] }, { name: 'web', id: 1 })
  const ids = new Set(one.seen.map(({ bytes }) => bytes.readUInt16BE(0)))
  t.ok(ids.size > 15, `${ids.size} IDs for 20 questions with the same`)
})

t.test('a silent server: the next is asked as well, and either may answer', async (t) => {
  await using silent = await upstream(() => undefined)
  await using two = await upstream(good('10.0.0.2'))
  t.equal(await ask({ servers: [silent.address, two.address], times: quick }), '0 10.0.0.2')
  t.equal(silent.seen.length, 1)
})

t.test('a server that is not there: the next is asked at once', async (t) => {
  await using two = await upstream(good('10.0.0.2'))
  const nobody = { address: ip('127.0.0.1'), port: 1 }
  t.equal(await ask({ servers: [nobody, two.address] }), '0 10.0.0.2')
  t.equal(await ask({ servers: [nobody] }), 'connect-failed', 'and none is an error')
  t.equal(await ask({ servers: [] }), 'connect-failed')
})

t.test('a lost datagram is sent again', async (t) => {
  let count = 0
  await using lossy = await upstream((asked) => (++count === 1 ? undefined : good()(asked)))
  t.equal(await ask({ servers: [lossy.address], times: quick }), '0 10.0.0.1')
  t.equal(count, 2)
})

t.test('a failing server is asked once, and counts only when nobody knows better', async (t) => {
  await using failing = await upstream(rcode(2))
  await using refusing = await upstream(rcode(5))
  await using two = await upstream(good('10.0.0.2'))
  t.equal(await ask({ servers: [failing.address, refusing.address, two.address] }), '0 10.0.0.2')
  t.equal(await ask({ servers: [failing.address, refusing.address] }), '2')
  t.equal(failing.seen.length, 2, 'once per question')
  await using silent = await upstream(() => undefined)
  t.equal(
    await ask({ servers: [failing.address, silent.address], times: soon }),
    '2',
    'while another is silent',
  )
})

t.test('"no such name" is an answer like any other', async (t) => {
  await using one = await upstream(rcode(3))
  await using two = await upstream(good())
  t.equal(await ask({ servers: [one.address, two.address] }), '3')
  t.equal(two.seen.length, 0)
})

t.test('nobody answers: an error in time, and three questions at most', async (t) => {
  await using silent = await upstream(() => undefined)
  t.equal(await ask({ servers: [silent.address], times: soon }), 'timeout')
  t.equal(silent.seen.length, 3)
  const gone = AbortSignal.timeout(50)
  t.match(await ask({ servers: [silent.address], signal: gone }), /Timeout/, 'a pod that is gone ends it')
})

t.test('a cut answer is asked for over TCP where the client takes more than was offered', async (t) => {
  const behaviour: Behaviour = ({ bytes, transport }) =>
    transport === 'udp' ? response(bytes, { flags: 0x200 }) : good('10.0.0.9')({ bytes, transport })
  await using one = await upstream(behaviour)
  t.equal(await ask({ servers: [one.address] }, { name: 'web', payload: 4096 }), '0 10.0.0.9')
  t.equal(one.seen[0] && read(one.seen[0].bytes).opt?.type, 'OPT')
  t.match(read(one.seen[0]?.bytes).opt, { udpPayloadSize: 1232 }, 'no upstream is invited to send fragments')
  t.equal(await ask({ servers: [one.address] }), '0 cut', 'else it is the client’s to ask again')
  t.equal(one.seen.filter(({ transport }) => transport === 'tcp').length, 1)
})

t.test('a client that came over TCP is served over TCP, and over UDP where that fails', async (t) => {
  await using one = await upstream(good())
  t.equal(await ask({ servers: [one.address], transport: 'tcp' }), '0 10.0.0.1')
  t.same(
    one.seen.map(({ transport }) => transport),
    ['tcp'],
  )
  await using deaf = await upstream((asked) =>
    asked.transport === 'tcp' ? undefined : good('10.0.0.3')(asked),
  )
  t.equal(await ask({ servers: [deaf.address], transport: 'tcp', times: quick }), '0 10.0.0.3')
})

t.test('wrong IDs from the server itself: TCP, which cannot be guessed', async (t) => {
  const behaviour: Behaviour = ({ bytes, transport }) => {
    if (transport === 'tcp') return good('10.0.0.1')({ bytes, transport })
    return Array.from({ length: 64 }, (_, n) => {
      const forged = response(bytes, { answers: [a('web', '6.6.6.6')] })
      forged.writeUInt16BE((bytes.readUInt16BE(0) + 1 + n) & 0xffff, 0)
      return forged
    })
  }
  await using one = await upstream(behaviour)
  t.equal(await ask({ servers: [one.address] }), '0 10.0.0.1')
})

t.test('an upstream that sends rubbish is no crash', async (t) => {
  await using broken = await upstream(({ bytes }) => {
    const half = response(bytes, { answers: [a('web', '10.0.0.1')] })
    half.writeUInt16BE(500, 6)
    return half
  })
  t.equal(await ask({ servers: [broken.address] }), 'connect-failed')
  await using closing = await upstream(() => Buffer.alloc(0))
  t.equal(
    await ask({ servers: [closing.address], transport: 'tcp', times: soon }),
    'connect-failed',
    'what was known before the time was up',
  )
})

t.test('sockets are closed however it ends', async (t) => {
  const fds: number[] = []
  const counting: OpenSocket = (kind, family) => {
    const fd = open(kind, family)
    fds.push(fd)
    return fd
  }
  await using one = await upstream(good())
  await using silent = await upstream(() => undefined)
  await ask({ servers: [one.address], open: counting })
  await ask({ servers: [silent.address], open: counting, times: soon })
  await ask({ servers: [{ address: ip('127.0.0.1'), port: 1 }], open: counting, transport: 'tcp' })
  t.equal(fds.length, 1 + 3 + 2)
  const lowest = udpSocket({ family: 'ipv4' })
  t.ok(lowest <= Math.max(...fds), 'their numbers are free again')
  closeFd(lowest)
})
