import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Socket } from 'node:net'
import t from 'tap'
import { connectIn, listenIn } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { type FaultNode, FaultWorld, inPod, report, vip } from './fault-world.ts'

// R-34, row 66: whatever is split, held up, paused or lost on the way, the bytes are the same. FAULT_TRANSFERS=10000 is the row.

const transfers = Number(process.env['FAULT_TRANSFERS'] ?? 600)
const atOnce = 24
const maxBytes = 600_000
/** Of one node: what comes there is cut and held up often. */
const narrow = {
  HTTP2_STREAM_WINDOW_SIZE: '65535',
  HTTP2_CONNECTION_WINDOW_SIZE: '262140',
  HTTP2_FRAME_SIZE: '16384',
}
const seed = Number(process.env['FAULT_SEED'] ?? 20_267)
t.setTimeout(110_000 + transfers * 200)

/** Numbers that a seed fixes (mulberry32). */
function randomOf(from: number): () => number {
  let state = from
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}
const random = randomOf(seed)
const upTo = (n: number) => Math.floor(random() * n)
/** Mostly short, sometimes long: of what sizes connections are. */
const someSize = () => Math.floor(maxBytes * random() ** 3)

/** Says `bytes` in pieces with pauses, then ends. */
async function say(socket: Socket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const n = 1 + upTo(random() < 0.3 ? 20 : 250_000)
    if (!socket.write(bytes.subarray(at, at + n)))
      await Promise.race([new Promise((done) => socket.once('drain', done)), closing(socket)])
    at += n
    if (random() < 0.05) await delay(upTo(15))
  }
  socket.end()
}
const closing = (socket: Socket) => new Promise((done) => socket.once('close', done))

/** The digest of everything heard until the end, with stops on the way; or what went wrong. */
const hear = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    const digest = createHash('sha256')
    socket.on('data', (part: Buffer) => {
      digest.update(part)
      if (random() > 0.05) return
      socket.pause()
      setTimeout(() => socket.resume(), upTo(20))
    })
    socket.once('end', () => resolve(digest.digest('hex')))
    socket.once('error', (error) => resolve(error.message))
    socket.once('close', () => resolve('closed without an end'))
  })
const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

t.test(
  `${transfers} transfers in pieces, some of them over a link that loses 5 %`,
  { skip: needsRoot },
  async (t) => {
    const world = await FaultWorld.start('fbc', {}, { env: narrow })
    /** What the app of a connection says, by what the client says first: which transfer it is. */
    const answers = new Map<string, { says: Buffer; heard: PromiseWithResolvers<string> }>()
    const app = await listenIn(world.server.netns, 8080, (socket) => {
      // Even the name of a transfer may come in pieces.
      const named = () => {
        const head: Buffer | null = socket.read(16)
        if (head === null) return
        socket.off('readable', named)
        const mine = answers.get(head.toString('hex'))
        if (!mine) return socket.destroy()
        socket.unshift(head)
        void hear(socket).then(mine.heard.resolve)
        return void say(socket, mine.says)
      }
      socket.on('readable', named)
    })
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    const wrong: string[] = []
    let moved = 0
    const transfer = async () => {
      const says = Buffer.concat([randomBytes(16), randomBytes(someSize())])
      const answer = { says: randomBytes(someSize()), heard: Promise.withResolvers<string>() }
      answers.set(says.subarray(0, 16).toString('hex'), answer)
      const socket = await connectIn(world.client.netns, vip, 80)
      socket.on('error', () => undefined)
      const heard = hear(socket)
      // Its first 16 bytes name the transfer.
      socket.write(says.subarray(0, 16))
      await say(socket, says.subarray(16))
      // What never arrives is not waited for for ever; a link that loses packets may take long.
      void heard.then((text) =>
        setTimeout(() => answer.heard.resolve(`nothing; the client: ${text}`), 60_000).unref(),
      )
      const [there, back] = await Promise.all([answer.heard.promise, heard])
      if (there !== digestOf(says)) wrong.push(`there: ${there}`)
      if (back !== digestOf(answer.says)) wrong.push(`back: ${back}`)
      moved += says.length + answer.says.length
    }
    const run = async (count: number) => {
      let left = count
      const worker = async () => {
        while (left-- > 0) await transfer()
      }
      await Promise.all(Array.from({ length: atOnce }, worker))
    }
    await run(Math.ceil(transfers * 0.8))
    const lossy =
      'table inet faults { chain in { type filter hook input priority 0; tcp dport 15008 numgen random mod 100 < 5 counter drop; }; }'
    inPod(world, 'server', 'sh', '-c', `echo '${lossy}' | nft -f -`)
    await run(Math.floor(transfers * 0.2))
    const lost = /counter packets (\d+)/.exec(
      inPod(world, 'server', 'nft', 'list', 'table', 'inet', 'faults'),
    )?.[1]
    report('byte-chaos', { seed, transfers, moved, packetsLost: Number(lost), wrong: wrong.length })
    if (wrong.length > 0) t.comment([...failed(world.n1), ...failed(world.n2)])
    t.same(wrong, [], `every byte of ${moved}, once and in order (seed ${seed})`)
    t.ok(Number(lost) > 0, `${lost} packets were lost on the way`)
  },
)

const failed = ({ ztunnel }: FaultNode) => ztunnel.lines.filter(({ level }) => level !== 'info')
