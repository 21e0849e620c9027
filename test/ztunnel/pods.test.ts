import t from 'tap'
import type { Netns } from '#linux'
import { Readiness, silent } from '#telemetry'
import { Pods } from '../../ztunnel/inpod/index.ts'
import type { PodProxy } from '../../ztunnel/inpod/index.ts'
import { until } from '../fakes/until.ts'

const pod = { uid: 'u', name: 'order', namespace: 'shop', serviceAccount: 'order' }
const metrics = { counts: () => undefined, started: () => undefined, stopped: () => undefined }

/** Namespaces and proxies that only remember what became of them. */
function world(o: { releaseMs: number; start?: (netns: Netns) => Promise<void> }) {
  const open = new Set<bigint>()
  const stop = new AbortController()
  const netns = (inode: bigint): Netns => {
    open.add(inode)
    return { fd: -1, inode, [Symbol.dispose]: () => void open.delete(inode) }
  }
  const serving = new Set<PodProxy>()
  const start = async (of: typeof pod, ns: Netns): Promise<PodProxy> => {
    await o.start?.(ns)
    const proxy: PodProxy = {
      pod: of,
      netns: ns,
      stopAccepting: async () => undefined,
      drain: async () => undefined,
      released: () => undefined,
      close: async () => {
        serving.delete(proxy)
        ns[Symbol.dispose]()
      },
    }
    serving.add(proxy)
    return proxy
  }
  const pods = new Pods({
    start,
    log: silent,
    readiness: new Readiness(),
    metrics,
    signal: stop.signal,
    retryMs: 1,
    releaseMs: o.releaseMs,
  })
  return { pods, netns, open, serving, stop }
}

t.test(
  'a sandbox made anew under the same uid: the old one leaves after its grace all the same',
  async (t) => {
    const { pods, netns, open, serving } = world({ releaseMs: 20 })
    await pods.add(pod, netns(1n))
    await pods.remove(pod.uid)
    await pods.add(pod, netns(2n))
    t.equal(serving.size, 2, 'the old one is still served, the new one already')
    await pods.remove(pod.uid)
    await until(() => serving.size === 0, 'both are gone')
    t.equal(open.size, 0, 'and no namespace is held')
  },
)

t.test('the end closes those that leave, those that run, and those that are just starting', async (t) => {
  const gate = Promise.withResolvers<void>()
  const { pods, netns, open, serving, stop } = world({
    releaseMs: 3_600_000,
    start: async ({ inode }) => (inode === 3n ? gate.promise : undefined),
  })
  await pods.add(pod, netns(1n))
  await pods.remove(pod.uid)
  await pods.add(pod, netns(2n))
  const late = pods.add({ ...pod, uid: 'late' }, netns(3n))
  stop.abort()
  await pods[Symbol.asyncDispose]()
  gate.resolve()
  await late
  t.equal(serving.size, 0)
  t.equal(open.size, 0)
})

t.test('a pod that comes back while it leaves goes on', async (t) => {
  const { pods, netns, open, serving } = world({ releaseMs: 3_600_000 })
  await pods.add(pod, netns(1n))
  const [first] = serving
  await pods.remove(pod.uid)
  await pods.add(pod, netns(1n))
  t.strictSame([...serving], [first])
  t.match(pods.list(), [{ state: 'Up' }])
  await pods[Symbol.asyncDispose]()
  t.equal(open.size, 0)
})

t.test('who leaves takes no pod, and keeps what it has', async (t) => {
  const { pods, netns, open, serving } = world({ releaseMs: 0 })
  await pods.add(pod, netns(1n))
  await pods.drain()
  await t.rejects(pods.add({ ...pod, uid: 'new' }, netns(2n)), { code: 'draining' })
  await pods.add(pod, netns(1n))
  t.equal(serving.size, 1)
  t.same(pods.list().length, 1)
  await pods[Symbol.asyncDispose]()
  t.equal(open.size, 0)
})

t.test('who leaves gives up what could not be started, and ends what is just starting', async (t) => {
  const gate = Promise.withResolvers<void>()
  let tries = 0
  const { pods, netns, open, serving } = world({
    releaseMs: 0,
    start: async ({ inode }) => {
      if (inode === 3n) return gate.promise
      if (++tries < 3) throw new Error('port in use')
    },
  })
  await t.rejects(pods.add(pod, netns(1n)), { message: 'port in use' })
  const starting = pods.add({ ...pod, uid: 'late' }, netns(3n))
  await pods.drain()
  gate.resolve()
  await t.rejects(starting, { code: 'draining' })
  for (let n = 0; n < 20; n++) await new Promise((done) => setTimeout(done, 1))
  t.ok(tries < 3, 'nor is it tried again')
  t.equal(serving.size, 0)
  t.equal(open.size, 0, 'no namespace is held')
  t.same(pods.list(), [])
})
