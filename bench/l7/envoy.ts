import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ip } from '#base'
import { findEnvoy } from '../../test/helpers/envoy.ts'
import { bootstrap, hboneCluster, type Json, terminating } from '../../test/helpers/envoy-config.ts'
import { freePort, listening, start, stop } from '../process.ts'
import type { Way } from './client.ts'
import { grpcPort, httpPort } from './orders.ts'
import { hbonePort, idOf, proxyCore, type World } from './world.ts'

const typed = (type: string, fields: Json = {}): Json => ({
  '@type': `type.googleapis.com/envoy.${type}`,
  ...fields,
})
const options = 'extensions.upstreams.http.v3.HttpProtocolOptions'

/** Connections that never leave the process: what Istio's waypoints pass a tunnel's bytes over. */
const internalCluster = (name: string, to: string, isHttp2 = false): Json => ({
  name,
  type: 'STATIC',
  connect_timeout: '10s',
  load_assignment: {
    cluster_name: name,
    endpoints: [
      { lb_endpoints: [{ endpoint: { address: { envoy_internal_address: { server_listener_name: to } } } }] },
    ],
  },
  ...(isHttp2
    ? {
        typed_extension_protocol_options: {
          [`envoy.${options}`]: typed(options, { explicit_http_config: { http2_protocol_options: {} } }),
        },
      }
    : {}),
})

const internalListener = (name: string, filter: Json): Json => ({
  name,
  internal_listener: {},
  filter_chains: [{ filters: [filter] }],
})

const retries = {
  num_retries: 2,
  retry_on: 'connect-failure,refused-stream,unavailable,cancelled',
}

/** HTTP out of the tunnels: one route, a line of log per request. */
const http = (): Json => ({
  name: 'http',
  typed_config: typed('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'http',
    access_log: [
      {
        name: 'file',
        typed_config: typed('extensions.access_loggers.file.v3.FileAccessLog', { path: '/dev/null' }),
      },
    ],
    stream_idle_timeout: '0s',
    http_filters: [{ name: 'router', typed_config: typed('extensions.filters.http.router.v3.Router') }],
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          retry_policy: retries,
          routes: [
            { match: { prefix: '/', grpc: {} }, route: { cluster: 'app-grpc', timeout: '15s' } },
            { match: { prefix: '/bytes/' }, route: { cluster: 'app', timeout: '0s' } },
            { match: { prefix: '/' }, route: { cluster: 'app', timeout: '15s' } },
          ],
        },
      ],
    },
  }),
})

/** Into a tunnel to the application. */
const intoTunnel = (hostname: string): Json => ({
  name: 'tcp',
  typed_config: typed('extensions.filters.network.tcp_proxy.v3.TcpProxy', {
    stat_prefix: 'out',
    cluster: 'out',
    idle_timeout: '0s',
    tunneling_config: { hostname },
  }),
})

/** Envoy as Istio's waypoint has it: HBONE in, CONNECT ended, one route, CONNECT, HBONE out; one worker. */
export async function startEnvoy(world: World): Promise<(Way & AsyncDisposable) | string> {
  const found = await findEnvoy()
  if ('missing' in found) return found.missing
  const port = await freePort()
  const { certificates, app, folder } = world
  const own = certificates.waypoint
  const at = { address: '127.0.0.1', port }
  const listeners = [
    terminating({ name: 'in', own, peers: [idOf('client')], log: '/dev/null', to: 'main', at }),
    internalListener('main', http()),
    internalListener('to-app', intoTunnel(`${app.address}:${httpPort}`)),
    internalListener('to-grpc', intoTunnel(`${app.address}:${grpcPort}`)),
  ]
  const clusters = [
    internalCluster('main', 'main'),
    internalCluster('app', 'to-app'),
    internalCluster('app-grpc', 'to-grpc', true),
    hboneCluster({ name: 'out', own, peers: [idOf('app')], to: { address: app.address, port: hbonePort } }),
  ]
  const config = {
    ...bootstrap(join(folder, 'envoy.sock'), listeners, clusters),
    bootstrap_extensions: [
      {
        name: 'envoy.bootstrap.internal_listener',
        typed_config: typed('extensions.bootstrap.internal_listener.v3.InternalListener'),
      },
    ],
  }
  const file = join(folder, 'envoy.json')
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
  const child = start(
    [found.binary, '-c', file, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error'],
    { core: proxyCore, stdio: ['ignore', 'ignore', 'inherit'] },
  )
  await listening(port)
  return {
    name: 'envoy',
    pid: child.pid,
    open: () => world.client.open({ address: ip('127.0.0.1'), port }, own.id, '10.96.0.10:80'),
    [Symbol.asyncDispose]: () => stop(child),
  }
}
