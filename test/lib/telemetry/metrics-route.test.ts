import { request } from 'node:http'
import t from 'tap'
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib'
import { Counter, Gauge, Histogram, metricsRoute, Registry, serveHttp } from '#telemetry'

function registry() {
  const registers = [new Registry()]
  new Counter({ name: 'istio_opened_total', help: 'Opened', labelNames: ['who'], registers }).inc(
    { who: 'a"b\\c\nd' },
    3,
  )
  new Counter({ name: 'istio_never_total', help: 'Never', labelNames: ['who'], registers })
  new Gauge({ name: 'open', help: 'Open\nnow', registers }).set(-1.5)
  new Histogram({ name: 'took_seconds', help: 'Took', buckets: [0.5, 1], registers }).observe(0.7)
  const [only] = registers
  if (!only) throw new Error('none')
  return only
}
const text = `# HELP istio_opened_total Opened
# TYPE istio_opened_total counter
istio_opened_total{who="a\\"b\\\\c\\nd"} 3
# HELP open Open\\nnow
# TYPE open gauge
open -1.5
# HELP took_seconds Took
# TYPE took_seconds histogram
took_seconds_bucket{le="0.5"} 0
took_seconds_bucket{le="1"} 1
took_seconds_bucket{le="+Inf"} 1
took_seconds_sum 0.7
took_seconds_count 1
`
const open = `${text
  .replace('HELP istio_opened_total', 'HELP istio_opened')
  .replace('TYPE istio_opened_total', 'TYPE istio_opened')}# EOF\n`

async function start(test: { teardown(fn: () => Promise<void>): unknown }, source = registry()) {
  const route = metricsRoute(source)
  const server = await serveHttp({ port: 0, host: '127.0.0.1' }, { '/metrics': route, 'GET /only': route })
  test.teardown(async () => server[Symbol.asyncDispose]())
  return (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    new Promise<{ status: number | undefined; headers: NodeJS.Dict<string | string[]>; body: Buffer }>(
      (resolve, reject) => {
        const sent = request({ host: '127.0.0.1', port: server.port, path, headers, method }, (answer) => {
          const chunks: Buffer[] = []
          answer.on('data', (chunk) => chunks.push(chunk))
          answer.on('end', () =>
            resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks) }),
          )
        })
        sent.on('error', reject).end()
      },
    )
}

t.test('who asks for nothing gets the plain format, without families that have no value', async (t) => {
  const get = await start(t)
  const { headers, body } = await get('/metrics')
  t.equal(headers['content-type'], 'text/plain; charset=utf-8')
  t.equal(headers['content-encoding'], undefined)
  t.equal(body.toString(), text)
})

const accepts: [string, 'openmetrics' | 'text'][] = [
  [
    'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1',
    'openmetrics',
  ],
  ['application/openmetrics-text', 'openmetrics'],
  ['text/plain;q=0.9, application/openmetrics-text;q=0.3', 'text'],
  ['application/openmetrics-text;q=0', 'text'],
  ['application/openmetrics-text;q=nonsense', 'text'],
  ['*/*', 'text'],
  ['text/html, text/plain', 'text'],
]
for (const [accept, want] of accepts) {
  t.test(`accept: ${accept} gets ${want}`, async (t) => {
    const get = await start(t)
    const { headers, body } = await get('/metrics', { accept })
    t.equal(body.toString(), want === 'text' ? text : open)
    if (want === 'openmetrics')
      t.equal(headers['content-type'], 'application/openmetrics-text;charset=utf-8;version=1.0.0')
  })
}

const codings: [string, string | undefined][] = [
  ['gzip', 'gzip'],
  ['gzip, deflate, br, zstd', 'zstd'],
  ['br;q=1.0, gzip;q=0.8', 'br'],
  ['deflate', 'deflate'],
  ['zstd;q=0, gzip', 'gzip'],
  ['identity', undefined],
  ['compress', undefined],
  ['gzip;q=0', undefined],
]
const decoders: Record<string, (body: Buffer) => Buffer> = {
  gzip: gunzipSync,
  br: brotliDecompressSync,
  deflate: inflateSync,
  zstd: zstdDecompressSync,
}
for (const [asked, want] of codings) {
  t.test(`accept-encoding: ${asked} gets ${want ?? 'it as it is'}`, async (t) => {
    const get = await start(t)
    const { headers, body } = await get('/metrics', { 'accept-encoding': asked })
    t.equal(headers['content-encoding'], want)
    t.equal((want === undefined ? body : decoders[want]?.(body))?.toString(), text)
  })
}

t.test('a route without a method takes any, one with a method only that', async (t) => {
  const get = await start(t)
  t.equal((await get('/metrics', {}, 'POST')).status, 200)
  t.equal((await get('/only', {}, 'POST')).status, 404)
  t.equal((await get('/only')).status, 200)
  t.equal((await get('/constructor')).status, 404)
})

t.test('scrapes at the same time cost one', async (t) => {
  let collected = 0
  const source = registry()
  const counting = {
    getMetricsAsJSON: () => {
      collected++
      return source.getMetricsAsJSON()
    },
  }
  const route = metricsRoute(counting)
  const answers = await Promise.all(
    Array.from({ length: 50 }, async () => route({ 'accept-encoding': 'gzip' })),
  )
  t.equal(collected, 1)
  t.ok(answers.every(({ body }) => body === answers[0]?.body))
  await route({ 'accept-encoding': 'gzip' })
  t.equal(collected, 2, 'and the next one is fresh')
})

t.test('a source that fails is an answer, and is asked again', async (t) => {
  let fails = true
  const source = registry()
  const get = await start(t, {
    getMetricsAsJSON: () => (fails ? Promise.reject(new Error('not now')) : source.getMetricsAsJSON()),
  } as Registry)
  t.match(await get('/metrics'), { status: 500 })
  fails = false
  t.equal((await get('/metrics')).status, 200)
})
