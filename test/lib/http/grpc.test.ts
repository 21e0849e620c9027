import * as grpc from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { until } from '../../fakes/until.ts'
import { proxyTo } from './support.ts'

const same = (bytes: Buffer) => bytes
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
})
const service = {
  Unary: method('/test.Echo/Unary', false, false),
  Both: method('/test.Echo/Both', true, true),
  Refuse: method('/test.Echo/Refuse', false, false),
  Never: method('/test.Echo/Never', false, false),
}

type Seen = { cancelled: number; metadata: grpc.Metadata[] }

async function echoServer(t: Test): Promise<{ port: number; seen: Seen }> {
  const seen: Seen = { cancelled: 0, metadata: [] }
  const server = new grpc.Server()
  server.addService(service, {
    Unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
      seen.metadata.push(call.metadata)
      const trailers = new grpc.Metadata()
      trailers.set('x-trailer', 'at the end')
      done(null, call.request, trailers)
    },
    Both: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (bytes: Buffer) => void call.write(bytes))
      call.on('end', () => call.end())
    },
    Refuse: (_call: unknown, done: grpc.sendUnaryData<Buffer>) =>
      done({ code: grpc.status.FAILED_PRECONDITION, details: 'not now' }),
    Never: (call: grpc.ServerUnaryCall<Buffer, Buffer>) => {
      call.on('cancelled', () => seen.cancelled++)
    },
  })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  t.teardown(() => server.forceShutdown())
  return { port, seen }
}

async function scene(t: Test) {
  const { port, seen } = await echoServer(t)
  const proxy = await proxyTo(t, port, ['HTTP/2', 'HTTP/2'])
  const client = new grpc.Client(`127.0.0.1:${proxy.port}`, grpc.credentials.createInsecure())
  t.teardown(() => client.close())
  const unary = (path: string, bytes: Buffer, o: grpc.CallOptions = {}) =>
    new Promise<{ error: grpc.ServiceError | null; bytes: Buffer | undefined; trailers: grpc.Metadata }>(
      (resolve) => {
        let trailers = new grpc.Metadata()
        const metadata = new grpc.Metadata()
        metadata.set('x-mine', 'yes')
        let result: { error: grpc.ServiceError | null; bytes: Buffer | undefined } | undefined
        const call = client.makeUnaryRequest(path, same, same, bytes, metadata, o, (error, answer) => {
          result = { error, bytes: answer }
        })
        call.on('status', (status) => {
          trailers = status.metadata
          setImmediate(() => resolve({ error: result?.error ?? null, bytes: result?.bytes, trailers }))
        })
      },
    )
  return { proxy, client, seen, unary }
}

t.test('unary calls pass with their metadata and trailers', async (t) => {
  const { unary, seen, proxy } = await scene(t)
  const bytes = Buffer.alloc(300_000, 'message')
  const answers = await Promise.all([1, 2, 3, 4].map(() => unary('/test.Echo/Unary', bytes)))
  for (const { error, bytes: answer, trailers } of answers) {
    t.equal(error, null)
    t.ok(answer?.equals(bytes))
    t.strictSame(trailers.get('x-trailer'), ['at the end'])
  }
  t.strictSame(seen.metadata[0]?.get('x-mine'), ['yes'])
  t.strictSame(proxy.pool.use('group'), { connections: 1, pending: 0, requests: 0 }, 'over one connection')
})

t.test('an error that is nothing but a status stays one', async (t) => {
  const { unary } = await scene(t)
  const refused = await unary('/test.Echo/Refuse', Buffer.alloc(0))
  t.match(refused.error, { code: grpc.status.FAILED_PRECONDITION, details: 'not now' })
  const unknown = await unary('/test.Echo/Nothing', Buffer.alloc(0))
  t.match(unknown.error, { code: grpc.status.UNIMPLEMENTED })
})

t.test('messages pass both ways while a call is open', async (t) => {
  const { client } = await scene(t)
  const call = client.makeBidiStreamRequest('/test.Echo/Both', same, same)
  const got: string[] = []
  call.on('data', (bytes: Buffer) => got.push(bytes.toString()))
  const status = new Promise<grpc.StatusObject>((resolve) => call.on('status', resolve))
  for (let n = 1; n <= 20; n++) {
    call.write(Buffer.from(`message ${n}`))
    await until(() => got.length === n, `message ${n} is back before the next is sent`)
  }
  call.end()
  t.match(await status, { code: grpc.status.OK })
  t.equal(got.at(-1), 'message 20')
})

t.test('a deadline or a cancel of the caller ends the call at the server', async (t) => {
  const { unary, seen, client, proxy } = await scene(t)
  const late = await unary('/test.Echo/Never', Buffer.alloc(0), { deadline: Date.now() + 300 })
  t.match(late.error, { code: grpc.status.DEADLINE_EXCEEDED })
  await until(() => seen.cancelled === 1, 'the server hears of it')
  const call = client.makeBidiStreamRequest('/test.Echo/Both', same, same)
  call.on('error', () => undefined)
  const echoed = new Promise((resolve) => call.on('data', resolve))
  call.write(Buffer.from('hello'))
  await echoed
  call.cancel()
  await until(() => proxy.pool.use('group').requests === 0, 'nothing is left open')
})
