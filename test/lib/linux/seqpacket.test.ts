import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { MeshError } from '#base'
import { connectSeqpacket, listenSeqpacket, maxPacketBytes, type Seqpacket } from '#linux'

const openFds = () => readdirSync('/proc/self/fd').length

type Packet = { text: string; fds: readonly number[] }
/** Packets of a connection, one by one. */
function inbox(peer: Seqpacket) {
  const packets: Packet[] = []
  const waiting: ((packet: Packet) => void)[] = []
  peer.onMessage = (bytes, fds) => {
    const packet = { text: Buffer.from(bytes).toString(), fds }
    const next = waiting.shift()
    if (next) next(packet)
    else packets.push(packet)
  }
  return {
    packets,
    next: () => {
      const first = packets.shift()
      return first ? Promise.resolve(first) : new Promise<Packet>((resolve) => waiting.push(resolve))
    },
  }
}

// A socket's path has at most 107 bytes, too few for tap's own test directories.
const directory = mkdtempSync('/tmp/lateen-linux-')
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
let sockets = 0
const socketPath = () => join(directory, `${sockets++}`)

async function pair(t: Teardown) {
  const path = socketPath()
  const accepted = Promise.withResolvers<Seqpacket>()
  const listener = listenSeqpacket(path, accepted.resolve)
  const client = connectSeqpacket(path)
  const server = await accepted.promise
  t.teardown(() => [client, server, listener].forEach((each) => each[Symbol.dispose]()))
  return { path, listener, client, server }
}
type Teardown = { teardown(cleanup: () => unknown): void }

t.test('packets keep their borders and order in both directions', async (t) => {
  const { client, server } = await pair(t)
  const [atServer, atClient] = [inbox(server), inbox(client)]
  for (const text of ['one', 'two', 'x'.repeat(maxPacketBytes)]) client.send(Buffer.from(text))
  t.equal((await atServer.next()).text, 'one')
  t.equal((await atServer.next()).text, 'two')
  t.equal((await atServer.next()).text.length, maxPacketBytes)
  server.send(Buffer.from('back'))
  t.same(await atClient.next(), { text: 'back', fds: [] })
})

t.test('a descriptor arrives as the same file, close-on-exec', async (t) => {
  const { client, server } = await pair(t)
  const box = inbox(server)
  const file = openSync('/proc/self/ns/net', 'r')
  client.send(Buffer.from('take'), [file])
  const { fds } = await box.next()
  t.equal(fds.length, 1)
  const [fd = -1] = fds
  t.equal(fstatSync(fd).ino, fstatSync(file).ino)
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
  t.ok(Number.parseInt(flags ?? '0', 8) & 0o2000000, 'O_CLOEXEC is set')
  closeSync(fd)
  closeSync(file)
})

t.test('descriptors that nobody takes are closed', async (t) => {
  const { client, server } = await pair(t)
  const file = openSync('/dev/null', 'r')
  const before = openFds()
  client.send(Buffer.from('a'), [file, file]) // the default handler of `server` gets this one
  client[Symbol.dispose]()
  await new Promise<void>((resolve) => (server.onClose = () => resolve()))
  t.equal(openFds(), before - 2, 'the two ends are closed, and nothing is left')
  closeSync(file)
})

t.test('the peer going away is one onClose without an error', async (t) => {
  const { client, server } = await pair(t)
  const closed = Promise.withResolvers<Error | undefined>()
  server.onClose = closed.resolve
  client[Symbol.dispose]()
  t.equal(await closed.promise, undefined)
  t.throws(() => server.send(Buffer.from('late')), { code: 'unavailable' })
  t.throws(() => client.send(Buffer.from('late')), { code: 'unavailable' })
})

t.test('a packet longer than the limit is refused at the sender and ends the receiver', async (t) => {
  const { client } = await pair(t)
  t.throws(() => client.send(new Uint8Array(maxPacketBytes + 1)), { code: 'over-limit' })
  t.throws(() => client.send(new Uint8Array(0)), { code: 'over-limit' })
})

t.test('a slow reader fills a bounded queue, then reads everything in order', async (t) => {
  const { client, server } = await pair(t)
  let sent = 0
  let full: unknown
  const file = openSync('/dev/null', 'r')
  try {
    for (; sent < 100_000; sent++) client.send(Buffer.from(`${sent}`.padEnd(500)), sent % 10 ? [] : [file])
  } catch (error) {
    full = error
  }
  t.match(full, { code: 'over-limit' })
  closeSync(file)
  const got: number[] = []
  const done = Promise.withResolvers<void>()
  server.onMessage = (bytes, fds) => {
    fds.forEach((fd) => closeSync(fd))
    got.push(Number(Buffer.from(bytes).toString()))
    if (got.length === sent) done.resolve()
  }
  await done.promise
  t.same(
    got,
    Array.from({ length: sent }, (_, i) => i),
  )
})

t.test(
  'the listening file is private, replaces a stale socket, spares a plain file, and goes away',
  async (t) => {
    const { path, listener } = await pair(t)
    t.equal(statSync(path).mode & 0o777, 0o600)
    const second = listenSeqpacket(path, () => undefined)
    second[Symbol.dispose]()
    t.notOk(existsSync(path))
    listener[Symbol.dispose]()
    writeFileSync(path, 'mine')
    t.throws(() => listenSeqpacket(path, () => undefined), { code: 'syscall-failed', errno: 98 })
    t.ok(existsSync(path))
  },
)

t.test('connecting to nothing fails with its errno', (t) => {
  t.throws(() => connectSeqpacket('/nonexistent/s'), { code: 'syscall-failed', errno: 2 })
  t.throws(() => connectSeqpacket(`/${'x'.repeat(200)}`), { code: 'syscall-failed', errno: 36 })
  try {
    connectSeqpacket('/nonexistent/s')
  } catch (error) {
    t.ok(error instanceof MeshError)
    t.match((error as Error).message, /ENOENT/)
  }
  t.end()
})

t.test('an error thrown by a handler is an uncaught exception, not silence', async (t) => {
  const { client, server } = await pair(t)
  const caught = new Promise<Error>((resolve) => process.once('uncaughtException', resolve))
  server.onMessage = () => {
    throw new Error('from the handler')
  }
  client.send(Buffer.from('x'))
  t.match(await caught, { message: 'from the handler' })
})

t.test('a worker may end with its sockets open', async (t) => {
  const path = socketPath()
  const accepted = Promise.withResolvers<Seqpacket>()
  const listener = listenSeqpacket(path, accepted.resolve)
  const code = `import { connectSeqpacket } from '#linux'; import { parentPort } from 'node:worker_threads'
    const c = connectSeqpacket(${JSON.stringify(path)}); c.send(Buffer.from('hi')); parentPort.postMessage('up')`
  const file = join(import.meta.dirname, `../../../.build/worker-${process.pid}.mjs`) // `#linux` resolves from here
  writeFileSync(file, code)
  t.teardown(() => rmSync(file))
  const worker = new Worker(file)
  await once(worker, 'message')
  await worker.terminate()
  const peer = await accepted.promise
  peer.send(Buffer.from('the descriptor of a terminated worker stays open, as any that Node does not know'))
  peer[Symbol.dispose]()
  listener[Symbol.dispose]()
})
