import { once } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import type { Readable, Writable } from 'node:stream'
import t, { type Test } from 'tap'
import type { HttpVersion } from '#http'
import { until } from '../../fakes/until.ts'
import { listen, proxyTo } from './support.ts'

/** Sockets and kernel of three hops take some; what is beyond it we hold. */
const mostInFlight = 40 << 20
const chunk = Buffer.alloc(64 << 10, 'x')

/** Writes without end; counts what was taken. */
function endless(to: Writable): { readonly bytes: number; readonly blocked: boolean } {
  const state = { bytes: 0, blocked: false }
  const more = () => {
    state.blocked = false
    while (!to.destroyed && state.bytes < 1 << 30) {
      state.bytes += chunk.length
      if (!to.write(chunk)) {
        state.blocked = true
        to.once('drain', more)
        return
      }
    }
  }
  to.on('error', () => undefined)
  more()
  return state
}

/** Resolves once a sender has stood still for a while. */
async function stands(sender: { readonly bytes: number; readonly blocked: boolean }): Promise<number> {
  let last = -1
  let same = 0
  await until(() => {
    same = sender.blocked && sender.bytes === last ? same + 1 : 0
    last = sender.bytes
    return same >= 40
  }, 'the sender has been stopped')
  return last
}

type Duplex = { out: Writable; answer: Promise<Readable>; abort: () => void }

function client(t: Test, version: HttpVersion, port: number): Duplex {
  if (version === 'HTTP/1.1') {
    const request = http.request({ port, host: '127.0.0.1', method: 'POST' })
    request.on('error', () => undefined)
    t.teardown(() => void request.destroy())
    const answer = once(request, 'response').then(([one]) => one as Readable)
    return { out: request, answer, abort: () => void request.destroy() }
  }
  const session = http2.connect(`http://127.0.0.1:${port}`)
  session.on('error', () => undefined)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':method': 'POST' })
  stream.on('error', () => undefined)
  const answer = once(stream, 'response').then(() => stream)
  return { out: stream, answer, abort: () => stream.close(http2.constants.NGHTTP2_CANCEL) }
}

function origin(t: Test, version: HttpVersion, handler: http.RequestListener): Promise<number> {
  if (version === 'HTTP/1.1') return listen(t, http.createServer(handler))
  const server = http2.createServer()
  server.on('request', handler)
  return listen(t, server)
}

const versions: readonly HttpVersion[] = ['HTTP/1.1', 'HTTP/2']
for (const down of versions) {
  for (const up of versions) {
    t.test(`who does not read stops the other end, from ${down} to ${up}`, async (t) => {
      const senders: { bytes: number; blocked: boolean }[] = []
      const requests: Readable[] = []
      const port = await origin(t, up, (request, response) => {
        requests.push(request)
        request.on('error', () => undefined)
        senders.push(endless(response))
      })
      const proxy = await proxyTo(t, port, [down, up])
      const before = process.memoryUsage()
      const { out, answer, abort } = client(t, down, proxy.port)
      const upload = endless(out)
      const reader = await answer
      const [download] = senders
      if (download === undefined) return t.fail('no request has arrived')
      const sent = [await stands(download), await stands(upload)]
      t.ok(
        sent.every((bytes) => bytes < mostInFlight),
        `${sent.join()} bytes before both stand`,
      )
      const { external, arrayBuffers } = process.memoryUsage()
      t.comment(
        `external grew by ${(external - before.external) >> 20} MiB, of it buffers ${(arrayBuffers - before.arrayBuffers) >> 20}`,
      )

      let read = 0
      reader.on('data', (part: Buffer) => (read += part.length))
      reader.on('error', () => undefined)
      const whole = (sent[0] ?? 0) + (8 << 20)
      await until(() => read > whole, 'it goes on when it is read')
      reader.pause()
      let taken = 0
      requests[0]?.on('data', (part: Buffer) => (taken += part.length))
      await until(() => taken > (sent[1] ?? 0) + (8 << 20), 'in the other direction too')
      const gone = new Promise((resolve) => requests[0]?.on('close', resolve))
      abort()
      await gone
      t.pass('a client that leaves ends the request at the origin')
      await until(() => proxy.pool.use('group').requests === 0, 'and in the pool')
      const [exchange] = proxy.exchanges
      t.match(await exchange?.ended, { kind: 'broken', by: 'downstream' })
    })
  }
}
