import t, { type Test } from 'tap'
import {
  type Body,
  type BodyReader,
  type Exchange,
  HeaderList,
  HttpPool,
  type HttpVersion,
  passOn,
  relay,
  type PoolDestination,
  type RequestHead,
  type Response,
  serveHttp,
} from '#http'
import { until } from '../../fakes/until.ts'
import { poolOf, serve, towards } from '../hbone/support.ts'
import { policy } from './support.ts'

/** HTTP in HBONE tunnels, as a waypoint gets and sends it. */
async function tunnelled(t: Test, version: HttpVersion, onExchange: (exchange: Exchange) => void) {
  const served = await serve(t, (tunnel) => {
    tunnel.accept()
    serveHttp(tunnel.byteStream(), { version, scheme: 'http', onExchange, trailers: true })
  })
  const hbone = poolOf(t)
  const pool = new HttpPool()
  t.teardown(() => pool.close())
  const to: PoolDestination = {
    key: 'one',
    group: 'one',
    version,
    policy,
    dial: async () => (await hbone.connect(towards(served.address))).byteStream(),
  }
  return { pool, to, served }
}

const head = (method: string, path: string): RequestHead => ({
  method,
  scheme: 'http',
  authority: 'x',
  path,
  headers: new HeaderList(),
})

const signal = new AbortController().signal

async function responseOf(
  pool: HttpPool,
  to: PoolDestination,
  request: RequestHead,
  body?: Body,
): Promise<Response> {
  const outcome = await pool.send(to, request, body, { signal })
  if (outcome.kind === 'failure') throw new Error(outcome.reason)
  return outcome.response
}

/** Reads a body into one buffer; holds back after each piece where it is slow. */
function collect(body: Body, slow = false): Promise<Buffer> {
  const parts: Buffer[] = []
  return new Promise((resolve, reject) => {
    const reader: BodyReader = {
      bytes: (buffer, start, end) => {
        parts.push(Buffer.from(buffer.subarray(start, end)))
        if (slow) setImmediate(() => body.resume())
        return !slow
      },
      end: () => resolve(Buffer.concat(parts)),
      broken: (reason) => reject(new Error(reason)),
    }
    body.read(reader)
  })
}

/** A body of our own, in pieces, as fast as it is taken. */
function bodyOf(bytes: Buffer, length?: number): Body {
  let at = 0
  let reader: BodyReader | undefined
  const go = () => {
    while (reader !== undefined) {
      const to = Math.min(bytes.length, at + 50_000)
      const from = at
      at = to
      if (from === to) {
        const done = reader
        reader = undefined
        return done.end(undefined)
      }
      if (!reader.bytes(bytes, from, to)) return
    }
  }
  return {
    length,
    get received() {
      return at
    },
    read: (one) => {
      reader = one
      go()
    },
    resume: go,
    discard: () => {
      reader = undefined
    },
  }
}

const echo = (exchange: Exchange): void => {
  if (exchange.request.path === '/hop')
    return void exchange.respond({ status: 204, headers: new HeaderList() }, 'none')
  relay(exchange.body, exchange.respond({ status: 200, headers: new HeaderList() }, 'follows'))
}

const large = Buffer.alloc((6 << 20) + 3, 'in a tunnel, in a tunnel')

for (const version of ['HTTP/1.1', 'HTTP/2'] satisfies readonly HttpVersion[]) {
  t.test(`${version} passes through tunnels, and keeps them`, async (t) => {
    const { pool, to, served } = await tunnelled(t, version, echo)
    for (let n = 0; n < 5; n++) {
      const { head: answer } = await responseOf(pool, to, head('GET', '/hop'))
      t.equal(answer.status, 204)
    }
    t.equal(served.tunnels.length, 1, 'all in one tunnel')
    for (const [length, slow] of [
      [undefined, false],
      [large.length, true],
    ] as const) {
      const response = await responseOf(pool, to, head('POST', '/'), bodyOf(large, length))
      t.ok(
        (await collect(response.body, slow)).equals(large),
        `6 MiB, ${slow ? 'read slowly' : 'read at once'}`,
      )
    }
    t.match(pool.use('one'), { requests: 0, pending: 0 })
  })

  t.test(`${version}: a tunnel that is lost breaks what was on its way`, async (t) => {
    const open: Exchange[] = []
    const { pool, to, served } = await tunnelled(t, version, (exchange) => {
      open.push(exchange)
      if (exchange.request.path === '/began')
        exchange.respond({ status: 200, headers: new HeaderList() }, 'follows')
    })
    const began = await responseOf(pool, to, head('GET', '/began'))
    const broken = collect(began.body)
    const waiting = pool.send(to, head('GET', '/waiting'), undefined, { signal })
    await until(() => open.length === 2, 'both have arrived')
    for (const tunnel of served.tunnels) tunnel.reset()
    await t.rejects(broken)
    t.match(await waiting, { kind: 'failure', sent: true })
    for (const exchange of open) t.match(await exchange.ended, { kind: 'broken', by: 'downstream' })
    t.match(pool.use('one'), { requests: 0, pending: 0 })
  })
}

t.test('a chain of two passes an answer on, between versions', async (t) => {
  const last = await tunnelled(t, 'HTTP/2', echo)
  const first = await tunnelled(t, 'HTTP/1.1', (exchange) => {
    void last.pool
      .send(last.to, exchange.request, exchange.body, { signal: exchange.gone })
      .then((outcome) => {
        if (outcome.kind === 'response') passOn(outcome.response, exchange)
        else exchange.reset('connection-termination')
      })
  })
  const response = await responseOf(first.pool, first.to, head('PUT', '/'), bodyOf(large))
  t.ok((await collect(response.body)).equals(large))
})
