import grpc from '@grpc/grpc-js'
import t from 'tap'
import { Registry, silent } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { type Handler, type Resource, subscribe, xdsMetrics } from '#xds'
import { FakeXds } from '../../fakes/fake-xds.ts'
import { createTestCa } from '../../fakes/test-ca.ts'

const ca = createTestCa()

/** Takes everything but the resources named in `refuse`; writes down what it was given. */
const recorder = (refuse: readonly string[] = []) => {
  const seen: string[] = []
  const handler: Handler = {
    apply: (upserts: readonly Resource[], removed) => {
      seen.push(`${upserts.map(({ name, version }) => `${name}@${version}`).join(',')} -${removed.join(',')}`)
      return upserts
        .filter(({ name }) => refuse.includes(name))
        .map(({ name }) => ({ name, reason: 'garbage' }))
    },
  }
  return { seen, handler }
}

type World = {
  fake: FakeXds
  types: Record<string, Handler>
  token?: () => string
  rootPem?: () => string
  registry?: Registry
  connectMs?: number
}
const start = (
  {
    fake,
    types,
    token = () => 'secret',
    rootPem = () => ca.rootPem,
    registry = new Registry(),
    connectMs = 20_000,
  }: World,
  test: { teardown(fn: () => Promise<void>): unknown },
) => {
  const abort = new AbortController()
  const subscription = subscribe({
    address: fake.address,
    rootPem,
    tls: { minVersion: 'TLSv1.3', ecdhCurve: 'X25519MLKEM768' },
    token,
    clusterId: 'Kubernetes',
    connectMs,
    node: {
      id: 'ztunnel~10.0.0.1~z.istio-system~istio-system.svc.cluster.local',
      metadata: { NODE_NAME: 'n1' },
    },
    types,
    signal: abort.signal,
    log: silent,
    metrics: xdsMetrics(registry),
  })
  test.teardown(async () => {
    abort.abort()
    await subscription.done
    fake[Symbol.dispose]()
  })
  return { ...subscription, abort }
}
const bytes = Buffer.from([1])

t.test(
  'a whole life: first requests, acks, a partial nack, a removal, and a reconnect with versions',
  async (t) => {
    const fake = await FakeXds.start(ca)
    const addresses = recorder(['b'])
    const policies = recorder()
    const types = { [addressTypeUrl]: addresses.handler, [authorizationTypeUrl]: policies.handler }
    start({ fake, types }, t)
    const first = await fake.stream()
    await fake.until(() => fake.lines.length === 2)
    t.same(first.metadata.get('authorization'), ['Bearer secret'])
    t.same(first.metadata.get('clusterid'), ['Kubernetes'])
    t.equal(fake.requests[0]?.node?.metadata?.['NODE_NAME'], 'n1')
    const versioned = (version: string) => ({ version, bytes })
    first.send(addressTypeUrl, { a: versioned('1'), b: versioned('1'), c: versioned('1') })
    await fake.until(() => fake.lines.length === 3)
    first.send(addressTypeUrl, { a: versioned('2') }, ['c'])
    await fake.until(() => fake.lines.length === 4)
    first.send(authorizationTypeUrl, { 'ns/p': { bytes } })
    await fake.until(() => fake.lines.length === 5)
    first.end()
    await fake.until(() => fake.lines.length === 7)
    const id = 'ztunnel~10.0.0.1~z.istio-system~istio-system.svc.cluster.local'
    t.strictSame(fake.lines, [
      `Address init {} node=${id} subscribe=[]`,
      `Authorization init {} node=${id} subscribe=[]`,
      'Address nack 1 b: garbage',
      'Address ack 2 node=-',
      'Authorization ack 3 node=-',
      `Address init {"a":"2","b":""} node=${id} subscribe=[]`,
      `Authorization init {"ns/p":""} node=${id} subscribe=[]`,
    ])
    t.strictSame(addresses.seen, ['a@1,b@1,c@1 -', 'a@2 -c'])
  },
)

t.test('ready only when every type has had a response', async (t) => {
  const fake = await FakeXds.start(ca)
  const types = { [addressTypeUrl]: recorder().handler, [authorizationTypeUrl]: recorder().handler }
  const { synced } = start({ fake, types }, t)
  let ready = false
  void synced.then(() => {
    ready = true
  })
  const stream = await fake.stream()
  stream.send(addressTypeUrl, {})
  await fake.until(() => fake.lines.length === 3)
  t.notOk(ready)
  stream.send(authorizationTypeUrl, {})
  await synced
  t.ok(ready)
})

t.test('a failing server is tried again, with the token of that moment', async (t) => {
  const fake = await FakeXds.start(ca)
  let n = 0
  const registry = new Registry()
  start({ fake, types: { [addressTypeUrl]: recorder().handler }, token: () => `token-${++n}`, registry }, t)
  const first = await fake.stream()
  await fake.until(() => fake.lines.length === 1)
  first.fail(grpc.status.UNAUTHENTICATED)
  const second = await fake.stream(2)
  t.same(second.metadata.get('authorization'), ['Bearer token-2'])
  await fake.until(() => fake.lines.length === 2)
  const metrics = await registry.metrics()
  t.match(metrics, 'istio_xds_connection_terminations_total{reason="Error"} 1')
})

t.test('a server that ends every stream at once is not asked in a tight loop', async (t) => {
  const fake = await FakeXds.start(ca)
  start({ fake, types: { [addressTypeUrl]: recorder().handler } }, t)
  await fake.stream()
  const begun = performance.now()
  for (let n = 1; n <= 6; n++) (await fake.stream(n)).end()
  await fake.stream(7)
  t.ok(performance.now() - begun > 400, '10, 20, 40 … 320 ms, each at least 0.8 of that')
})

t.test('a handler that throws rejects its response, and the stream goes on', async (t) => {
  const fake = await FakeXds.start(ca)
  const handler: Handler = {
    apply: (upserts) => {
      if (upserts.some(({ name }) => name === 'bomb')) throw new Error('boom')
      return []
    },
  }
  const registry = new Registry()
  const { synced } = start({ fake, types: { [addressTypeUrl]: handler }, registry }, t)
  let isSynced = false
  void synced.then(() => (isSynced = true))
  const stream = await fake.stream()
  stream.send(addressTypeUrl, { bomb: { bytes } })
  await fake.until(() => fake.lines.length === 2)
  t.notOk(isSynced, 'and does not count as received')
  stream.send(addressTypeUrl, { fine: { bytes } })
  stream.send('type.googleapis.com/not.Asked', {})
  await fake.until(() => fake.lines.length === 4)
  t.same(fake.lines.slice(1), [
    'Address nack 1 bomb: could not be applied: boom',
    'Address ack 2 node=-',
    'Asked ack 3 node=-',
  ])
  t.ok(isSynced, 'the next does')
  t.match(await registry.metrics(), `istio_xds_message_total{url="${addressTypeUrl}"} 2`)
})

t.test('what could not be removed is reported as held, so that it is removed later', async (t) => {
  const fake = await FakeXds.start(ca)
  const handler: Handler = {
    apply: (upserts) => {
      if (upserts.some(({ name }) => name === 'bomb')) throw new Error('boom')
      return []
    },
  }
  start({ fake, types: { [addressTypeUrl]: handler } }, t)
  const stream = await fake.stream()
  stream.send(addressTypeUrl, { old: { version: '1', bytes } })
  stream.send(addressTypeUrl, { bomb: { bytes } }, ['old'])
  await fake.until(() => fake.lines.length === 3)
  stream.end()
  await fake.stream(2)
  await fake.until(() => fake.lines.length === 4)
  t.same(fake.requests.at(-1)?.initialResourceVersions, { old: '1', bomb: '' })
})

t.test('a server whose certificate is not from our root is never spoken to', async (t) => {
  const fake = await FakeXds.start(createTestCa())
  const registry = new Registry()
  start({ fake, types: { [addressTypeUrl]: recorder().handler }, registry, connectMs: 1_000 }, t)
  const deadline = Date.now() + 20_000
  while (!(await registry.metrics()).includes('reason="ConnectionError"')) {
    if (Date.now() > deadline) break
    await new Promise((done) => setTimeout(done, 50))
  }
  t.match(await registry.metrics(), 'reason="ConnectionError"')
  t.same(fake.lines, [])
})

t.test('a root that comes into the file later is believed from the next connection on', async (t) => {
  const next = createTestCa()
  const fake = await FakeXds.start(next)
  let reads = 0
  const rootPem = () => (++reads > 2 ? ca.rootPem + next.rootPem : ca.rootPem)
  start({ fake, types: { [addressTypeUrl]: recorder().handler }, rootPem, connectMs: 3_000 }, t)
  await fake.stream()
  t.equal(reads, 3)
})

t.test('an unreadable token file is a failed attempt, not a crash', async (t) => {
  const fake = await FakeXds.start(ca)
  let n = 0
  const token = () => {
    if (++n < 3) throw new Error('ENOENT')
    return 'late'
  }
  start({ fake, types: { [addressTypeUrl]: recorder().handler }, token }, t)
  const stream = await fake.stream()
  t.same(stream.metadata.get('authorization'), ['Bearer late'])
})
