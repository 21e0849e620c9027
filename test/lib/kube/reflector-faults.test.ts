/** What goes wrong between us and the API server never takes a row away that the API server has. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import t from 'tap'
import { KubeClient, kinds, reflect } from '#kube'
import { silent } from '#telemetry'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'

const pod = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels },
})
const lasting = Array.from({ length: 20 }, (_, i) => `p${i}`)

/** A wire to the API server that can be cut, and held: what is held is neither passed on nor refused. */
async function wireTo(kube: FakeKube) {
  const pairs = new Set<readonly [Socket, Socket]>()
  let held = false
  const server = createServer((client) => {
    const upstream = connect(Number(kube.cluster.server.port), '127.0.0.1')
    const pair = [client, upstream] as const
    pairs.add(pair)
    for (const [from, to] of [pair, [upstream, client] as const]) {
      from.on('data', (chunk) => void (held || to.write(chunk)))
      from.on('error', () => to.destroy())
      from.on('close', () => {
        to.destroy()
        pairs.delete(pair)
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  const client = new KubeClient({ ...kube.cluster, server: new URL(`http://127.0.0.1:${port}`) })
  return {
    client,
    cut: () => {
      for (const [a] of pairs) a.destroy()
    },
    /** Half-open: connections stand, and nothing comes through, now and for what is sent later on them. */
    hold: (on: boolean) => (held = on),
    [Symbol.asyncDispose]: async () => {
      client[Symbol.dispose]()
      for (const [a, b] of pairs) [a, b].map((socket) => socket.destroy())
      await new Promise((done) => server.close(done))
    },
  }
}

async function watched(kube: FakeKube) {
  const wire = await wireTo(kube)
  const stop = new AbortController()
  const pods = reflect(wire.client, kinds.Pod, {
    signal: stop.signal,
    log: silent,
    baseMs: 2,
    inactivityMs: 150,
  })
  await pods.synced
  const lost: string[] = []
  pods.subscribe((changes) => {
    for (const { key, row } of changes)
      if (row === undefined && lasting.includes(key.slice(5))) lost.push(key)
  })
  return {
    ...wire,
    pods,
    /** Rows that were taken away though their objects were there all the time. */
    lost,
    equal: () =>
      until(
        () =>
          JSON.stringify(pods.list()) ===
          JSON.stringify(
            [...kube.all(kinds.Pod)].sort((a, b) =>
              String(a.metadata.name) < String(b.metadata.name) ? -1 : 1,
            ),
          ),
        'the table is as the API server',
      ),
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await wire[Symbol.asyncDispose]()
    },
  }
}

const lists = (kube: FakeKube) => kube.requests.filter((r) => r.includes('limit=')).length
const status = (code: number, reason: string) => ({
  status: code,
  body: { kind: 'Status', code, reason, message: reason },
})
const expired = status(410, 'Expired')
/** What is answered instead of what was asked for. */
const answers: readonly [string, { status: number; body: unknown }][] = [
  ['400', status(400, 'BadRequest')],
  ['401, a token that is being rotated', status(401, 'Unauthorized')],
  ['403, rights that are being rewritten', status(403, 'Forbidden')],
  ['404, an API that is being registered', status(404, 'NotFound')],
  ['410, also for lists', expired],
  ['429', status(429, 'TooManyRequests')],
  ['500', status(500, 'InternalError')],
  ['503', status(503, 'ServiceUnavailable')],
  ['504', { status: 504, body: 'upstream timed out' }],
  ['200 without a list', { status: 200, body: {} }],
  ['200 with an empty text', { status: 200, body: '' }],
  ['200 with a page of HTML', { status: 200, body: '<html>login</html>' }],
  ['200 with a list without a version', { status: 200, body: { kind: 'PodList', metadata: {}, items: [] } }],
  [
    '200 with items that are no list',
    { status: 200, body: { metadata: { resourceVersion: '1' }, items: 'x' } },
  ],
]
for (const [title, answer] of answers)
  t.test(`${title}: rows stay, and go on afterwards`, async (t) => {
    await using kube = await FakeKube.start(...lasting.map((name) => pod(name)))
    await using r = await watched(kube)
    let times = 0
    const isWatch = () => kube.requests.at(-1)?.includes('watch=1') === true
    // First the watches, then, as they cannot be resumed, the lists.
    const fault = kube.hook(() => (times++ > 2 && isWatch() ? expired : answer))
    kube.breakWatches()
    kube.compact()
    await until(() => times >= 4 && lists(kube) >= 3, 'listed again and again')
    kube.put(pod('new'))
    t.equal(r.pods.size(), lasting.length)
    fault[Symbol.dispose]()
    await r.equal()
    t.strictSame(r.lost, [])
  })

t.test('a list whose second page is refused counts for nothing', async (t) => {
  await using kube = await FakeKube.start(...lasting.map((name) => pod(name)))
  kube.pageSize = 5
  await using r = await watched(kube)
  let refused = 0
  const fault = kube.hook(() =>
    kube.requests.at(-1)?.includes('continue=') && refused++ < 3 ? expired : undefined,
  )
  kube.breakWatches()
  kube.compact()
  kube.remove(kinds.Pod, 'p0', 'shop')
  kube.compact()
  await until(() => refused >= 3, 'refused')
  fault[Symbol.dispose]()
  await r.equal()
  t.strictSame(r.lost, ['shop/p0'], 'only what is gone is gone')
})

t.test('a half-open connection is given up, and what was missed is caught up with', async (t) => {
  await using kube = await FakeKube.start(...lasting.map((name) => pod(name)))
  await using r = await watched(kube)
  r.hold(true)
  kube.put(pod('new'))
  const asked = kube.requests.length
  await new Promise((done) => setTimeout(done, 200)) // longer than the silence that is borne
  t.equal(r.pods.size(), lasting.length, 'nothing has come through')
  t.equal(kube.requests.length, asked, 'nor gone out')
  r.hold(false)
  await r.equal()
  t.strictSame(r.lost, [])
})

t.test('300 rounds of faults among changes', async (t) => {
  await using kube = await FakeKube.start(...lasting.map((name) => pod(name)))
  await using r = await watched(kube)
  let seed = 7
  const random = (n: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % n
  kube.hook(() => (random(3) === 0 ? answers[random(answers.length)]?.[1] : undefined))
  for (let round = 0; round < 300; round++) {
    const name = `x${random(5)}`
    if (random(2) === 0) kube.put(pod(name, { round: String(round) }))
    else kube.remove(kinds.Pod, name, 'shop')
    switch (random(6)) {
      case 0:
        kube.breakWatches()
        break
      case 1:
        r.cut()
        break
      case 2:
        kube.compact()
        break
      case 3:
        kube.bookmark()
        break
    }
    if (round % 10 === 0) await new Promise(setImmediate)
    if (round % 50 === 0) kube.put(pod(`p${random(20)}`, { round: String(round) }))
  }
  await r.equal()
  t.strictSame(r.lost, [])
})

t.test(
  'a kind that may not exist is not believed to be gone at the first word; only if it stays so',
  async (t) => {
    const policy = {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'deny', namespace: 'shop' },
    }
    await using kube = await FakeKube.start(policy)
    const stop = new AbortController()
    const follow = (forgetMs?: number) =>
      reflect(kube.client(), kinds.AuthorizationPolicy, {
        signal: stop.signal,
        log: silent,
        baseMs: 2,
        optional: true,
        ...(forgetMs === undefined ? {} : { forgetMs }),
      })
    const usual = follow()
    const hasty = follow(1)
    await Promise.all([usual.synced, hasty.synced])
    const seen: unknown[] = []
    usual.subscribe((changes) => seen.push(...changes))
    await until(() => kube.requests.filter((r) => r.includes('watch=1')).length === 2, 'both watch')
    const listed = lists(kube)
    const isWatch = () => kube.requests.at(-1)?.includes('watch=1') === true
    const fault = kube.hook(() => (isWatch() ? expired : status(404, 'NotFound')))
    kube.breakWatches()
    kube.compact()
    await until(() => lists(kube) >= listed + 6, 'listed again and again')
    await until(() => hasty.size() === 0, 'the one that waits for nothing has given it up')
    t.equal(usual.size(), 1)
    fault[Symbol.dispose]()
    kube.put({ ...policy, metadata: { ...policy.metadata, name: 'allow' } })
    await until(() => usual.size() === 2, 'goes on')
    t.equal(seen.length, 2, 'the first was never taken away')
    stop.abort()
  },
)
