import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, installed, listening, start, stop } from '../process.ts'
import { openTls, type Way } from './client.ts'
import { proxyCore, type World } from './world.ts'

type Places = Readonly<{ folder: string; port: number; app: number; own: string; key: string; ca: string }>

const nginxConf = ({ folder, port, app, own, key, ca }: Places) => `
daemon off; master_process off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 2048; }
http {
  access_log /dev/null; keepalive_requests 1000000000;
  client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  upstream app { server 127.0.0.1:${app}; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_protocols TLSv1.3; ssl_certificate ${own}; ssl_certificate_key ${key};
    ssl_client_certificate ${ca}; ssl_verify_client on;
    location /api/ {
      proxy_pass https://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_ssl_protocols TLSv1.3; proxy_ssl_certificate ${own}; proxy_ssl_certificate_key ${key};
    }
  }
}`

const haproxyConf = ({ port, app, own, ca }: Places) => `
global
  maxconn 4000
  nbthread 1
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:${port} ssl crt ${own} ca-file ${ca} verify required ssl-min-ver TLSv1.3
  use_backend out if { path_beg /api/ }
backend out
  server app 127.0.0.1:${app} ssl crt ${own} ca-file ${ca} verify required ssl-min-ver TLSv1.3
`

const programs = [
  {
    name: 'nginx',
    conf: nginxConf,
    command: (folder: string, file: string) => ['nginx', '-p', folder, '-c', file],
  },
  {
    name: 'haproxy',
    conf: haproxyConf,
    command: (_: string, file: string) => ['haproxy', '-db', '-f', file],
  },
] as const

/** nginx and haproxy with one thread each: mutual TLS in, one HTTP route, mutual TLS out. Those that are not installed are left out. */
export async function startTlsPeers(world: World): Promise<readonly (Way & AsyncDisposable)[]> {
  const { waypoint, client } = world.certificates
  const file = (name: string, text: string) => {
    const path = join(world.folder, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }
  // haproxy wants the key in the same file, nginx takes it from there too.
  const own = file('own.pem', `${waypoint.chainPem.join('')}${waypoint.privateKeyPem}`)
  const ca = file('ca.pem', waypoint.rootsPem.join(''))
  const started: (Way & AsyncDisposable)[] = []
  for (const { name, conf, command } of programs.filter((one) => installed(one.name))) {
    const folder = join(world.folder, name)
    mkdirSync(folder)
    const port = await freePort()
    const text = conf({ folder, port, app: world.app.tlsPort, own, key: own, ca })
    const child = start(command(folder, file(`${name}.conf`, text)), {
      core: proxyCore,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    await listening(port)
    const dispose = () => stop(child)
    started.push({
      name,
      pid: child.pid,
      open: () => openTls(port, client),
      [Symbol.asyncDispose]: dispose,
    })
  }
  return started
}
