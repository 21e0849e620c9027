import { connect, type IncomingHttpHeaders } from 'node:http2'
import { Server, ServerCredentials, status } from '@grpc/grpc-js'
import t from 'tap'
import { fixed } from '#kube'
import { Registry, silent } from '#telemetry'
import { addressTypeUrl } from '#wire'
import { adsService, type Resource, serveDeltas, xdsMetrics } from '../../../controller/xds/index.ts'
import { until } from '../../fakes/until.ts'

/** More than any window of HTTP/2 that a client opens without reading. */
const meshBytes = 24 << 20
const mesh = fixed<Resource>('Addresses', {
  a: {
    name: 'a',
    version: '1',
    aliases: [],
    keys: ['a'],
    any: { typeUrl: addressTypeUrl, value: Buffer.alloc(meshBytes) },
  },
})

/** Room for one mesh at a time. */
async function serve(timeoutMs: number) {
  const registry = new Registry()
  const deltas = serveDeltas({
    types: { [addressTypeUrl]: mesh },
    referredTo: [],
    authenticate: async (metadata) => {
      const uid = String(metadata.get('pod')[0])
      return { kind: 'caller', namespace: 'ns', serviceAccount: 'sa', pod: { name: uid, uid } }
    },
    nodeKey: (node) => node,
    debounceMs: 0,
    debounceMaxMs: 0,
    version: '',
    limits: { budgetBytes: meshBytes + 1024, timeoutMs },
    log: silent,
    metrics: xdsMetrics(registry),
  })
  const server = new Server()
  server.addService(adsService, { deltaAggregatedResources: deltas.deltaAggregatedResources })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  const open = (pod: string) => openRaw(port, pod)
  const sent = async () =>
    Number(/^pilot_xds_pushes\{type="wds"\} (\d+)$/m.exec(await registry.metrics())?.[1] ?? 0)
  const subscribed = (count: number) =>
    until(() => deltas.clients().filter(({ types }) => types.size > 0).length === count, `${count} clients`)
  return {
    open,
    sent,
    subscribed,
    clients: deltas.clients,
    [Symbol.dispose]: () => {
      deltas[Symbol.dispose]()
      server.forceShutdown()
    },
  }
}

/** Nothing but `type_url` (2). */
const firstRequest = Buffer.from([0x12, addressTypeUrl.length, ...Buffer.from(addressTypeUrl)])

/** A client without a library: theirs read a whole message ahead of whoever wants it. This one reads when told to. */
function openRaw(port: number, pod: string) {
  const session = connect(`http://127.0.0.1:${port}`)
  session.on('error', () => undefined)
  const { path } = adsService.deltaAggregatedResources
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    pod,
  })
  stream.on('error', () => undefined)
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(firstRequest.length, 1)
  stream.write(Buffer.concat([frame, firstRequest]))
  const state = { bytes: 0, status: '' }
  const told = (headers: IncomingHttpHeaders) => (state.status = [headers['grpc-status'] ?? []].flat().join())
  stream.on('trailers', told)
  stream.on('response', told) // a refusal has no trailers of its own
  return {
    state,
    read: () => void stream.on('data', (chunk: Buffer) => (state.bytes += chunk.length)),
    [Symbol.dispose]: () => session.destroy(),
  }
}

t.test('nothing is built for a client while the one before it has not read, and then it is', async (t) => {
  using served = await serve(60_000)
  using first = served.open('one')
  await served.subscribed(1)
  using second = served.open('two')
  second.read()
  await served.subscribed(2)
  using third = served.open('three')
  await served.subscribed(3)
  t.equal(await served.sent(), 1, 'the others wait')
  t.equal(second.state.bytes, 0)
  third[Symbol.dispose]()
  await served.subscribed(2)
  t.equal(await served.sent(), 1, 'also when one of those that wait is gone')
  first.read()
  await until(() => second.state.bytes > meshBytes, 'the second has the mesh')
  t.ok(first.state.bytes > meshBytes, 'after the first')
  t.equal(await served.sent(), 2)
})

t.test('a client that never reads is let go, and the next one is served', async (t) => {
  // Long enough for whoever does read, on a slow machine as well.
  using served = await serve(4_000)
  using dead = served.open('dead')
  await served.subscribed(1)
  using alive = served.open('alive')
  alive.read()
  await until(() => alive.state.bytes > meshBytes, 'the mesh comes')
  t.equal(dead.state.status, '')
  using again = served.open('dead')
  again.read()
  await until(() => again.state.status !== '', 'another stream of the same pod is refused meanwhile')
  t.equal(again.state.status, String(status.RESOURCE_EXHAUSTED))
  t.equal(again.state.bytes, 0, 'nothing more is held for it')
  dead.read()
  await until(() => dead.state.status !== '', 'the dead one is told when it reads after all')
  t.equal(dead.state.status, String(status.UNAVAILABLE))
  await served.subscribed(1)
  using better = served.open('dead')
  better.read()
  await until(() => better.state.bytes > meshBytes, 'now it is served again')
})
