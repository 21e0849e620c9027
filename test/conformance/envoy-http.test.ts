import * as http from 'node:http'
import t from 'tap'
import type { HttpVersion } from '#http'
import { findEnvoy, startEnvoy } from '../helpers/envoy.ts'
import type { Json, Place } from '../helpers/envoy-config.ts'
import { ask, listen, proxyTo } from '../lib/http/support.ts'

// A real Envoy on either side of our engine, with both versions: what one writes the other reads.

const found = await findEnvoy()
const skip = 'missing' in found && found.missing
t.setTimeout(120_000)

const at = ({ address, port }: Place): Json => ({ socket_address: { address, port_value: port } })
const type = (name: string, fields: Json = {}): Json => ({
  '@type': `type.googleapis.com/envoy.${name}`,
  ...fields,
})
const manager = 'extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'

/** Takes HTTP of either version, and passes all of it on. */
const proxying = (name: string, cluster: string): Json => ({
  name,
  address: at({ address: '127.0.0.1', port: 0 }),
  filter_chains: [
    {
      filters: [
        {
          name: 'http',
          typed_config: type(manager, {
            stat_prefix: name,
            codec_type: 'AUTO',
            http_filters: [
              {
                name: 'envoy.filters.http.router',
                typed_config: type('extensions.filters.http.router.v3.Router'),
              },
            ],
            route_config: {
              virtual_hosts: [
                { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] },
              ],
            },
          }),
        },
      ],
    },
  ],
})

const options = 'extensions.upstreams.http.v3.HttpProtocolOptions'
const clusterOf = (name: string, port: number, version: HttpVersion): Json => ({
  name,
  type: 'STATIC',
  load_assignment: {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: at({ address: '127.0.0.1', port }) } }] }],
  },
  typed_extension_protocol_options: {
    [`envoy.${options}`]: type(options, {
      explicit_http_config:
        version === 'HTTP/2' ? { http2_protocol_options: {} } : { http_protocol_options: {} },
    }),
  },
})

const body = Buffer.alloc((2 << 20) + 5, 'through an Envoy')

const versions: readonly HttpVersion[] = ['HTTP/1.1', 'HTTP/2']
for (const version of versions) {
  t.test(`${version}: requests pass from an Envoy through us and another Envoy`, { skip }, async (t) => {
    if ('missing' in found) return
    const seen: http.IncomingHttpHeaders[] = []
    const origin = http.createServer((request, response) => {
      seen.push(request.headers)
      if (request.url === '/slow') return void request.resume()
      if (request.method === 'GET') {
        response.writeHead(request.url === '/none' ? 204 : 200, { 'x-path': request.url ?? '' })
        return void response.end()
      }
      response.writeHead(200)
      request.pipe(response)
    })
    const originPort = await listen(t, origin)
    await using last = await startEnvoy(found.binary, () => ({
      listeners: [proxying('last', 'origin')],
      clusters: [clusterOf('origin', originPort, 'HTTP/1.1')],
    }))
    const ours = await proxyTo(t, last.port('last'), [version, version])
    await using first = await startEnvoy(found.binary, () => ({
      listeners: [proxying('first', 'ours')],
      clusters: [clusterOf('ours', ours.port, version)],
    }))
    const port = first.port('first')
    for (const path of ['/a?b=c%2F', '/none']) {
      const answer = await ask(port, {
        path,
        headers: { host: 'shop.example', cookie: 'a=1; b=2', 'x-odd': 'ä' },
      })
      t.match(answer, { status: path === '/none' ? 204 : 200, headers: { 'x-path': path } })
    }
    t.match(seen[0], { host: 'shop.example', cookie: 'a=1; b=2', 'x-odd': 'ä' })
    t.equal(ours.exchanges[0]?.version, version, 'Envoy speaks to us as it was told')
    for (const headers of [{ 'content-length': `${body.length}` }, { 'transfer-encoding': 'chunked' }]) {
      const answer = await ask(port, { method: 'POST', path: '/echo', body, headers })
      t.ok(answer.body.equals(body), Object.keys(headers).join())
    }
    const many = await Promise.all(Array.from({ length: 40 }, (_, n) => ask(port, { path: `/${n}` })))
    t.strictSame(
      many.map(({ headers }) => headers['x-path']),
      Array.from({ length: 40 }, (_, n) => `/${n}`),
    )
    t.match(ours.pool.use('group'), { requests: 0, pending: 0 })
  })
}
