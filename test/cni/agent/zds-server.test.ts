import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { silent } from '#telemetry'
import { zds } from '#wire'
import { type Announcement, LateAnnouncer, ZdsServer } from '../../../cni/agent/zds-server.ts'
import { ack, FakeZtunnel } from './fake-ztunnel.ts'

const directory = mkdtempSync('/tmp/lateen-zds-')
const file = openSync('/proc/self/ns/net', 'r')
t.teardown(() => {
  closeSync(file)
  rmSync(directory, { recursive: true, force: true })
})
let sockets = 0

const pod = (uid: string): Announcement => ({
  uid,
  name: `${uid}-0`,
  namespace: 'shop',
  serviceAccount: 'sa',
  netnsFd: file,
})
const said = (uid: string) => `add ${uid} shop/${uid}-0 as sa`

/** A server with these pods, and what it tells. */
function serve(t: { teardown(f: () => unknown): void }, pods: readonly string[] = [], ackTimeoutMs = 20_000) {
  const path = join(directory, `${sockets++}/z.sock`)
  const answers: string[] = []
  const counts: number[] = []
  const waiters = new Map<number, () => void>()
  const server = new ZdsServer({
    path,
    snapshot: () => pods.map(pod),
    onAnswer: (uid, refusal) => answers.push(`${uid}: ${refusal?.message ?? 'ok'}`),
    onConnected: (count) => {
      counts.push(count)
      waiters.get(count)?.()
    },
    log: silent,
    ackTimeoutMs,
  })
  t.teardown(() => server[Symbol.dispose]())
  const connected = async (count: number) => {
    if (server.connected !== count) await new Promise<void>((resolve) => waiters.set(count, resolve))
  }
  return { server, path, answers, counts, connected }
}

t.test('hello, the snapshot with one ack each, its end, then changes', async (t) => {
  const { server, path, answers, connected } = serve(t, ['u-1', 'u-2'])
  t.equal(statSync(path).mode & 0o777, 0o600)
  using ztunnel = new FakeZtunnel(path)
  await ztunnel.heard(/snapshot sent/)
  await connected(1)
  t.same(ztunnel.texts(), [said('u-1'), said('u-2'), 'snapshot sent'])
  t.ok(
    ztunnel.said
      .slice(0, 2)
      .every(({ inode }) => inode === statSync('/proc/self/ns/net', { bigint: true }).ino),
  )
  await server.add(pod('u-3'))
  await server.remove('u-1')
  t.same(ztunnel.texts().slice(3), [said('u-3'), 'del u-1'])
  t.same(answers, ['u-1: ok', 'u-2: ok'])
})

t.test('one request at a time: nothing is sent before the ack of what came before', async (t) => {
  const { server, path } = serve(t, ['u-1'])
  using ztunnel = new FakeZtunnel(path)
  ztunnel.answer = () => undefined
  await ztunnel.heard(/add u-1/)
  const adding = server.add(pod('u-2'))
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.same(ztunnel.texts(), [said('u-1')])
  ztunnel.answer = () => ''
  ztunnel.send(ack(''))
  await adding
  t.same(
    ztunnel.texts(),
    [said('u-1'), 'snapshot sent', said('u-2')],
    'and the snapshot ends before a change',
  )
})

t.test('a refusal is an error for that pod; the connection and the others live on', async (t) => {
  const { server, path, answers } = serve(t, ['u-1', 'u-2'])
  using ztunnel = new FakeZtunnel(path)
  ztunnel.answer = (text) => (text.includes('u-1') || text.includes('u-3') ? 'address in use' : '')
  await ztunnel.heard(/snapshot sent/)
  await t.rejects(server.add(pod('u-3')), { code: 'unavailable', message: /address in use/ })
  await server.add(pod('u-4'))
  t.match(answers, ['u-1: ztunnel refused: address in use', 'u-2: ok'])
  await server.remove('u-1')
  t.equal(server.connected, 1)
})

t.test('without a ztunnel an add fails at once and a removal is done', async (t) => {
  const { server } = serve(t)
  await t.rejects(server.add(pod('u-1')), { code: 'unavailable', message: 'no ztunnel connection' })
  await server.remove('u-1')
  const late = new LateAnnouncer()
  await t.rejects(late.add(pod('u-1')), { code: 'unavailable' })
  await late.remove('u-1')
})

t.test('adds go to the newest ztunnel, removals to all, and back when the newest leaves', async (t) => {
  const { server, path, connected } = serve(t)
  using old = new FakeZtunnel(path)
  await connected(1)
  {
    using young = new FakeZtunnel(path)
    await connected(2)
    await server.add(pod('u-1'))
    await server.remove('u-1')
    t.same(young.texts(), ['snapshot sent', said('u-1'), 'del u-1'])
    t.same(old.texts(), ['snapshot sent', 'del u-1'])
  }
  await connected(1)
  await server.add(pod('u-2'))
  t.equal(old.texts().at(-1), said('u-2'))
})

t.test('what came while a younger ztunnel was there is told to the older one when that leaves', async (t) => {
  const pods: string[] = ['u-1']
  const { server, path, connected, answers } = serve(t, pods)
  using old = new FakeZtunnel(path)
  await old.heard(/snapshot sent/)
  await connected(1)
  {
    using young = new FakeZtunnel(path)
    await young.heard(/snapshot sent/)
    await connected(2)
    pods.push('u-2')
    await server.add(pod('u-2'))
    t.notOk(old.texts().includes(said('u-2')))
  }
  await old.heard(/add u-2/)
  t.equal(answers.at(-1), 'u-1: ok')
  t.same(old.texts(), [said('u-1'), 'snapshot sent', said('u-1'), said('u-2')])
})

t.test('a ztunnel that leaves in the middle fails what it owed', async (t) => {
  const { server, path, connected } = serve(t)
  const ztunnel = new FakeZtunnel(path)
  await ztunnel.heard(/snapshot sent/)
  await connected(1)
  ztunnel.answer = () => undefined
  const adding = server.add(pod('u-1'))
  await ztunnel.heard(/add u-1/)
  ztunnel[Symbol.dispose]()
  await t.rejects(adding, { code: 'unavailable', message: /closed by ztunnel/ })
  t.equal(server.connected, 0)
})

t.test(
  'silence instead of an ack ends the connection, as a late ack could be taken for another',
  async (t) => {
    const { server, path, connected } = serve(t, [], 100)
    using ztunnel = new FakeZtunnel(path)
    await connected(1)
    ztunnel.answer = () => undefined
    await t.rejects(server.add(pod('u-1')), { code: 'unavailable', message: /no ack in time/ })
    await ztunnel.closed
    using again = new FakeZtunnel(path)
    await again.heard(/snapshot sent/)
  },
)

t.test('no hello, no snapshot', async (t) => {
  const { path, counts } = serve(t, ['u-1'], 100)
  using mute = new FakeZtunnel(path, new Uint8Array())
  await mute.closed
  t.same(mute.said, [])
  t.notOk(counts.includes(1))
})

const violations: [string, Uint8Array][] = [
  ['a hello of another version', Buffer.from([8, 7])],
  ['bytes that are no message', Buffer.from([0xff, 0xff, 0xff])],
]
for (const [name, hello] of violations) {
  t.test(`protocol violation at the start: ${name}`, async (t) => {
    const { path, counts } = serve(t, ['u-1'])
    using ztunnel = new FakeZtunnel(path, hello)
    await ztunnel.closed
    t.notOk(counts.includes(1))
    t.same(ztunnel.said, [])
  })
}

const badAnswers: [string, Uint8Array][] = [
  ['bytes that are no message', Buffer.from([0xff, 0xff])],
  ['an empty answer', zds.WorkloadResponse.encode({ payload: undefined }).finish()],
]
for (const [name, bytes] of badAnswers) {
  t.test(`protocol violation later: ${name}`, async (t) => {
    const { server, path, connected } = serve(t)
    using ztunnel = new FakeZtunnel(path)
    await connected(1)
    ztunnel.answer = () => (bytes.length > 0 ? bytes : Buffer.from([0x12, 0x00]))
    await t.rejects(server.add(pod('u-1')), { code: 'unavailable' })
    await ztunnel.closed
    t.equal(server.connected, 0)
  })
}

t.test(
  'an ack that nobody asked for, and descriptors from ztunnel, end the connection without a leak',
  async (t) => {
    const { path, connected } = serve(t)
    using one = new FakeZtunnel(path)
    await one.heard(/snapshot sent/)
    await connected(1)
    one.send(ack(''))
    one.send(ack(''))
    await one.closed
    const before = readdirSync('/proc/self/fd').length
    using two = new FakeZtunnel(path)
    await two.heard(/snapshot sent/)
    two.send(ack(''), [file, file])
    await two.closed
    await connected(0)
    t.equal(readdirSync('/proc/self/fd').length, before)
  },
)

t.test('no more than five connections in a second', async (t) => {
  const { path, connected } = serve(t)
  const all = Array.from({ length: 7 }, () => new FakeZtunnel(path))
  await Promise.race(all.map(({ closed }) => closed))
  await connected(5)
  for (const each of all) each[Symbol.dispose]()
  await connected(0)
})
