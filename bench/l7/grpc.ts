import { type Body, type BodyReader, connectHttp, HeaderList, type HttpConnection } from '#http'
import type { Way } from './client.ts'
import type { Measured } from './h1-load.ts'

/** A gRPC message of 128 bytes behind its prefix. */
export const message = Buffer.concat([Buffer.from([0, 0, 0, 0, 128]), Buffer.alloc(128, 'x')])

/** A body that is here as a whole. */
class Whole implements Body {
  readonly length = message.length
  received = 0

  read(reader: BodyReader): void {
    this.received = message.length
    reader.bytes(message, 0, message.length)
    reader.end(undefined)
  }
  resume(): void {}
  discard(): void {}
}

const head = () => ({
  method: 'POST',
  scheme: 'http',
  authority: 'web.demo.svc.cluster.local:9090',
  path: '/bench.Echo/Unary',
  headers: new HeaderList([
    'content-type',
    'application/grpc',
    'te',
    'trailers',
    'user-agent',
    'grpc-bench/1.0',
    'grpc-timeout',
    '10S',
  ]),
})

async function call(connection: HttpConnection): Promise<void> {
  const outcome = await connection.send(head(), new Whole(), { signal: never })
  if (outcome.kind === 'failure') throw new Error(`a call failed: ${outcome.reason}`)
  const { body } = outcome.response
  const trailers = await new Promise<HeaderList | undefined>((resolve, reject) => {
    body.read({
      bytes: () => true,
      end: resolve,
      broken: (reason) => reject(new Error(`an answer broke: ${reason}`)),
    })
  })
  if (trailers?.get('grpc-status') !== '0') throw new Error('a call was not answered with status 0')
}

const never = new AbortController().signal
const warmUpMs = 400

/** Unary calls, `parallel` at a time on each of `connections`. */
export async function grpcLoad(
  way: Way,
  o: Readonly<{ connections: number; parallel: number; seconds: number; mark: () => void }>,
): Promise<Measured> {
  const streams = await Promise.all(Array.from({ length: o.connections }, () => way.open()))
  const connections = streams.map((stream) => connectHttp(stream, { version: 'HTTP/2' }))
  let over = false
  let requests = 0
  let latencies: number[] = []
  const caller = async (connection: HttpConnection) => {
    while (!over) {
      const sentAt = performance.now()
      await call(connection)
      requests++
      latencies.push(performance.now() - sentAt)
    }
  }
  const callers = Promise.all(
    connections.flatMap((one) => Array.from({ length: o.parallel }, () => caller(one))),
  )
  const wait = (ms: number) => Promise.race([callers, new Promise((resolve) => setTimeout(resolve, ms))])
  try {
    await wait(warmUpMs)
    requests = 0
    latencies = []
    o.mark()
    const started = performance.now()
    await wait(o.seconds * 1000)
    o.mark()
    const measured = { requests, seconds: (performance.now() - started) / 1000, latencies }
    over = true
    await callers
    return measured
  } finally {
    over = true
    for (const one of connections) one.destroy()
  }
}
