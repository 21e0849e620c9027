import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** A proxy process and where it listens. */
export type Peer = AsyncDisposable & Readonly<{ name: string; port: number; pid: number }>

const here = new URL('.', import.meta.url).pathname

const installed = (tool: string): boolean => {
  try {
    execFileSync('which', [tool])
    return true
  } catch {
    return false
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

/** Ours or Node's, as a process of its own. */
export async function startNode(kind: 'lateen' | 'node', origin: number): Promise<Peer> {
  const child = spawn(process.execPath, [`${here}proxy.ts`, kind, `${origin}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const name = kind === 'node' ? 'node:http' : kind
  return { name, port: Number(line), pid: child.pid ?? 0, [Symbol.asyncDispose]: () => stop(child) }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address ? address.port : 0
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const socket = connect({ port, host: '127.0.0.1' })
    const open = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (open) return
    await delay(50)
  }
  throw new Error(`nobody listens on ${port}`)
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

/** CPU that a process has used, in seconds; the kernel counts in hundredths. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
