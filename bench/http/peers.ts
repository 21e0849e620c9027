import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, installed, listening, stop } from '../process.ts'

/** A proxy process and where it listens. */
export type Peer = AsyncDisposable & Readonly<{ name: string; port: number; pid: number }>

const here = new URL('.', import.meta.url).pathname

/** Ours or Node's, as a process of its own. */
export async function startNode(kind: 'lateen' | 'node', origin: number): Promise<Peer> {
  const child = spawn(process.execPath, [`${here}proxy.ts`, kind, `${origin}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const name = kind === 'node' ? 'node:http' : kind
  return { name, port: Number(line), pid: child.pid ?? 0, [Symbol.asyncDispose]: () => stop(child) }
}

const nginxConf = (folder: string, port: number, origin: number) => `
daemon off; master_process off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 2048; }
http {
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  upstream origin { server 127.0.0.1:${origin}; keepalive 256; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; } }
}`

const haproxyConf = (port: number, origin: number) => `
global
  maxconn 4000
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
  default_backend out
backend out
  server origin 127.0.0.1:${origin}
`

/** Where the tests put the Envoy that they compare with, unless one is given. */
const envoyBinary = process.env['ENVOY_BINARY'] ?? '.build/envoy/1.40.0/envoy/_bin/envoy'

const envoyConf = (port: number, origin: number) => {
  const at = (bound: number) => ({ socket_address: { address: '127.0.0.1', port_value: bound } })
  const router = {
    name: 'envoy.filters.http.router',
    typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
  }
  const manager = {
    '@type':
      'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'in',
    http_filters: [router],
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'origin' } }] },
      ],
    },
  }
  const filters = [{ name: 'http', typed_config: manager }]
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: at(origin) } }] }]
  return JSON.stringify({
    static_resources: {
      listeners: [{ name: 'in', address: at(port), filter_chains: [{ filters }] }],
      clusters: [{ name: 'origin', type: 'STATIC', load_assignment: { cluster_name: 'origin', endpoints } }],
    },
  })
}

type Launch = Readonly<{ name: string; command: string; args: (folder: string, file: string) => string[] }>

const launches: readonly (Launch & {
  conf: (folder: string, port: number, origin: number) => string
})[] = [
  { name: 'nginx', command: 'nginx', args: (folder, file) => ['-p', folder, '-c', file], conf: nginxConf },
  {
    name: 'haproxy',
    command: 'haproxy',
    args: (_, file) => ['-db', '-f', file],
    conf: (_, port, origin) => haproxyConf(port, origin),
  },
  {
    name: 'envoy',
    command: envoyBinary,
    args: (_, file) => ['--concurrency', '1', '--use-dynamic-base-id', '-l', 'error', '-c', file],
    conf: (_, port, origin) => envoyConf(port, origin),
  },
]

/** nginx, haproxy and Envoy with one thread each, where they are installed. */
export async function startPeers(origin: number): Promise<Peer[]> {
  const peers: Peer[] = []
  for (const { name, command, args, conf } of launches.filter((one) => installed(one.command))) {
    const folder = await mkdtemp(join(tmpdir(), 'lateen-bench-http-'))
    const port = await freePort()
    const file = join(folder, 'conf.json')
    await writeFile(file, conf(folder, port, origin))
    const child = spawn(command, args(folder, file), { stdio: 'ignore' })
    await listening(port)
    const dispose = async () => {
      await stop(child)
      await rm(folder, { recursive: true, force: true })
    }
    peers.push({ name, port, pid: child.pid ?? 0, [Symbol.asyncDispose]: dispose })
  }
  return peers
}
