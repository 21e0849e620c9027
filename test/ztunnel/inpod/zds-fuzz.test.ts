// Mutated messages of a node agent, with any number of descriptors, over real sockets. FUZZ_SEED repeats a run,
// FUZZ_COUNT makes it longer. Seeds are in test/corpus/zds; whatever breaks a rule is printed in hex and belongs there.
import { mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { MeshError } from '#base'
import { closeFd, listenSeqpacket, type Netns, type Seqpacket } from '#linux'
import { silent } from '#telemetry'
import { zds } from '#wire'
import { followAgent } from '../../../ztunnel/inpod/index.ts'
import { blind, corpus, mutate, type Random, randomOf } from '../../conformance/h2-fuzz-kit.ts'
import { until } from '../../fakes/until.ts'

const seed = Number(process.env.FUZZ_SEED ?? 20_267)
const count = Number(process.env.FUZZ_COUNT ?? 200)
/** A broken rule ends the connection, and the next one comes after a pause: many wait at the same time. */
const agents = 16
/** What a packet holds. */
const maxBytes = 1024
t.setTimeout(300_000)
t.comment(`FUZZ_SEED=${seed}`)

const openFiles = () => readdirSync('/proc/self/fd').length
const seeds = corpus('zds')
const keep = Buffer.from(
  zds.WorkloadRequest.encode({ payload: { $case: 'keep', value: { uid: 'k' } } }).finish(),
)
const good = zds.WorkloadRequest.encode({
  payload: {
    $case: 'add',
    value: { uid: 'twin', workloadInfo: { name: 'a', namespace: 'b', serviceAccount: 'c' } },
  },
}).finish()

/** Adds without what an add needs; must stay empty. */
const wrong: string[] = []
/** Like the real one towards the protocol: a second snapshot, and a keep after the first, break it. */
function podsStub() {
  const added: string[] = []
  let inSnapshot = true
  return {
    added,
    beginSnapshot: () => void (inSnapshot = true),
    add: async (pod: Readonly<{ uid: string; name: string }>, netns: Netns) => {
      if (pod.uid === '' || netns.fd < 0) wrong.push(JSON.stringify(pod))
      added.push(pod.uid)
      netns[Symbol.dispose]()
    },
    keep: () => {
      if (!inSnapshot) throw new MeshError('protocol', { message: 'keep after the snapshot' })
    },
    remove: async () => undefined,
    endSnapshot: async () => {
      if (!inSnapshot) throw new MeshError('protocol', { message: 'a second snapshot' })
      inSnapshot = false
    },
  }
}

/** An agent that has one ztunnel; every message is answered, or the connection is ended. */
function agentAt(path: string) {
  let peer: Seqpacket | undefined
  let answered: (answer: string) => void = () => undefined
  const server = listenSeqpacket(path, (connected) => {
    connected.onMessage = (bytes) => {
      // The first word of a connection is the hello.
      if (peer !== connected) peer = connected
      else answered(zds.WorkloadResponse.decode(bytes).payload?.value.error ?? '')
    }
    connected.onClose = () => {
      if (peer !== connected) return
      peer = undefined
      answered('closed')
    }
  })
  return {
    [Symbol.dispose]: () => {
      peer?.[Symbol.dispose]()
      server[Symbol.dispose]()
    },
    async ask(bytes: Uint8Array, fds: readonly number[]): Promise<string> {
      await until(() => peer !== undefined, 'ztunnel comes back')
      const { promise, resolve } = Promise.withResolvers<string>()
      answered = resolve
      peer?.send(bytes, fds)
      const late = setTimeout(() => resolve(`no answer to ${Buffer.from(bytes).toString('hex')}`), 10_000)
      const answer = await promise
      clearTimeout(late)
      return answer
    },
  }
}

async function play(path: string, random: Random, fds: readonly [netns: number, other: number]) {
  using agent = agentAt(path)
  const pods = podsStub()
  const stop = new AbortController()
  const log = silent
  const following = followAgent({
    path,
    pods,
    log,
    leaving: new AbortController().signal,
    signal: stop.signal,
  })
  /** A message that is taken: this connection lives, and the one after it comes soon. */
  const alive = async () => {
    for (let n = 0; n < 20; n++) if ((await agent.ask(keep, [])) === '') return
    throw new Error('no connection is served')
  }
  const seen = { acked: 0, nacked: 0, silent: [] as string[] }
  for (let n = 0; n < count; n++) {
    await alive()
    const whole = seeds[random(seeds.length)] ?? keep
    // Now and then as it is, only with descriptors that it may not have.
    const bytes = random(4) === 0 ? whole : mutate(whole, blind, random, seeds, maxBytes)
    const given = Array.from(
      { length: [0, 1, 1, 1, 2, 5][random(6)] ?? 0 },
      () => fds[random(4) === 0 ? 1 : 0],
    )
    const answer = await agent.ask(bytes, given as number[])
    if (answer === '') seen.acked++
    else if (answer.startsWith('no answer')) seen.silent.push(answer)
    else seen.nacked++
  }
  await alive()
  const twin = await agent.ask(good, [fds[0]])
  stop.abort()
  await following
  return { ...seen, twin: [twin, pods.added.at(-1)] }
}

t.test(
  'whatever an agent says is acked, nacked or ends the connection, and leaves no descriptor',
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'lateen-zds-'))
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    const netns = openSync('/proc/self/ns/net', 'r')
    const other = openSync('/dev/null', 'r')
    t.teardown(() => [netns, other].forEach(closeFd))
    const before = openFiles()
    const runs = await Promise.all(
      Array.from({ length: agents }, (_, n) =>
        play(join(directory, `${n}`), randomOf(seed + n), [netns, other]),
      ),
    )
    const sum = (of: 'acked' | 'nacked') => runs.reduce((total, run) => total + run[of], 0)
    t.comment(JSON.stringify({ messages: agents * count, acked: sum('acked'), nacked: sum('nacked') }))
    t.same(
      runs.flatMap((run) => run.silent),
      [],
      'every message is answered',
    )
    t.same(wrong, [], 'no pod is added without what it needs')
    t.ok(sum('acked') > 0 && sum('nacked') > 0, 'both kinds of answers were seen')
    for (const { twin } of runs) t.same(twin, ['', 'twin'], 'afterwards a good message is taken')
    await until(() => openFiles() <= before, 'every descriptor is closed')
  },
)
