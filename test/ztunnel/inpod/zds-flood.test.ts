import { mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Netns } from '#linux'
import { closeFd, listenSeqpacket, type Seqpacket } from '#linux'
import { silent } from '#telemetry'
import { zds } from '#wire'
import { followAgent } from '../../../ztunnel/inpod/index.ts'
import { until } from '../../fakes/until.ts'

const openFiles = () => readdirSync('/proc/self/fd').length
const add = zds.WorkloadRequest.encode({
  payload: {
    $case: 'add',
    value: { uid: 'u', workloadInfo: { name: 'a', namespace: 'b', serviceAccount: 'c' } },
  },
}).finish()

t.test(
  'an agent that does not wait for acks leaves no descriptor behind, however late it goes on',
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'lateen-zds-'))
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    const path = join(directory, 'sock')
    const peers: Seqpacket[] = []
    using _server = listenSeqpacket(path, (peer) => void peers.push(peer))
    const gate = Promise.withResolvers<void>()
    let adds = 0
    const pods = {
      beginSnapshot: () => undefined,
      add: async (_: unknown, netns: Netns) => {
        adds++
        await gate.promise
        netns[Symbol.dispose]()
      },
      keep: () => undefined,
      remove: async () => undefined,
      endSnapshot: async () => undefined,
    }
    const stop = new AbortController()
    let warned = 0
    const log = { ...silent, warn: () => void warned++ }
    const following = followAgent({
      path,
      pods,
      log,
      leaving: new AbortController().signal,
      signal: stop.signal,
    })
    await until(() => peers.length === 1, 'it is here')
    const before = openFiles()
    const file = openSync('/proc/self/ns/net', 'r')
    const say = () => peers[0]?.send(add, [file])
    for (let n = 0; n < 18; n++) say()
    await until(() => adds === 1 && openFiles() === before + 2, 'what waited is closed; one is being applied')
    for (let n = 0; n < 10; n++) say()
    closeFd(file)
    for (let n = 0; n < 5; n++) await new Promise((done) => setImmediate(done))
    gate.resolve()
    stop.abort()
    await following
    for (const peer of peers) peer[Symbol.dispose]()
    await until(() => openFiles() <= before, 'everything is closed')
    t.equal(adds, 1)
  },
)
