import { createServer } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { socketBytes } from '#hbone'
import { connectHttp, HeaderList } from '#http'
import { until } from '../../fakes/until.ts'
import { block, type Field, frame } from './raw-h2.ts'
import { dial, listen, proxyTo } from './support.ts'

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

/** Answers the first call with trailers alone, and the second with a message before them. */
async function endsWithBlanks(t: Test): Promise<number> {
  const status: readonly Field[] = [
    ['grpc-status', '5'],
    ['grpc-message', 'no such row: '],
  ]
  const head: readonly Field[] = [
    [':status', '200'],
    ['content-type', 'application/grpc'],
  ]
  const server = createServer((socket) => {
    socket.write(frame(4, 0, 0, Buffer.alloc(0)))
    let heads = 0
    socket.on('data', (bytes: Buffer) => {
      // What has come is our own client's: a request is one frame of a type that is seen at once.
      if (!bytes.includes(Buffer.of(1, 5, 0, 0, 0, 1 + 2 * heads))) return
      const id = 1 + 2 * heads++
      if (heads === 1) socket.write(frame(1, 5, id, block([...head, ...status])))
      else
        socket.write(
          Buffer.concat([
            frame(1, 4, id, block(head)),
            frame(0, 0, id, Buffer.alloc(5)),
            frame(1, 5, id, block(status)),
          ]),
        )
    })
  })
  return listen(t, server)
}

t.test('what a status says may end with a blank, as many do', async (t) => {
  const proxy = await proxyTo(t, await endsWithBlanks(t), ['HTTP/2', 'HTTP/2'])
  const client = connectHttp(socketBytes(await dial(proxy.port)), { version: 'HTTP/2' })
  t.teardown(() => client.destroy())
  const headers = HeaderList.of({ 'content-type': 'application/grpc', te: 'trailers' })
  const request = { method: 'POST', scheme: 'http', authority: 'a', path: '/test.Echo/Unary', headers }
  const call = async () => {
    const outcome = await client.send(request, undefined, { signal: AbortSignal.timeout(20_000) })
    if (outcome.kind !== 'response') throw new Error(outcome.reason)
    const { head, body } = outcome.response
    const trailers = await new Promise<HeaderList | undefined>((resolve, reject) =>
      body.read({ bytes: () => true, end: resolve, broken: (reason) => reject(new Error(reason)) }),
    )
    return (trailers ?? head.headers).get('grpc-message')
  }
  t.equal(await call(), 'no such row: ', 'in an answer that is trailers alone')
  t.equal(await call(), 'no such row: ', 'and behind a message')
})
