import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createRoot, generateKeyPair, issueCertificate, privateKeyPem } from '#identity'

const day = 86_400_000
/** Where a client of the pair connects to, on 127.0.0.1, to reach an application's port. */
export const clientPortOf = (appPort: number): number => appPort + 1000
const tunnelPortOf = (appPort: number) => appPort + 2000

/** The same for both sides: 64 KiB buffers, TLS 1.3, AES-128, mutual certificates (facts: dataplane.md §1). */
const common = `
global
  maxconn 2000
  nbthread 1
  tune.bufsize 65536
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
`

/** A pair of haproxies in two network namespaces: plain in, mTLS between them, plain out. The peer that we compare with. */
export async function startHaproxyPair(o: {
  clientNetns: string
  serverNetns: string
  serverIp: string
  appPorts: readonly number[]
}): Promise<AsyncDisposable & { pids: readonly number[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'lateen-bench-'))
  const root = createRoot({ organization: 'bench', validityMs: day })
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text, { mode: 0o600 })
    return join(folder, name)
  }
  const identity = async (name: string) => {
    const { publicKey, privateKey } = generateKeyPair()
    const now = Date.now()
    const leaf = issueCertificate({
      issuer: root,
      publicKey,
      commonName: name,
      uris: [`spiffe://cluster.local/ns/bench/sa/${name}`],
      notBefore: new Date(now - 60_000),
      notAfter: new Date(now + day / 2),
      usages: ['serverAuth', 'clientAuth'],
    })
    return file(`${name}.pem`, leaf + privateKeyPem(privateKey))
  }
  const ca = await file('ca.pem', root.certPem)
  const [clientPem, serverPem] = [await identity('client'), await identity('server')]
  const client = await file(
    'client.cfg',
    common +
      o.appPorts.map((port) => clientSide(port, o.serverIp, `crt ${clientPem} ca-file ${ca}`)).join(''),
  )
  const server = await file(
    'server.cfg',
    common + o.appPorts.map((port) => serverSide(port, `crt ${serverPem} ca-file ${ca}`)).join(''),
  )
  const children = [start(o.clientNetns, client), start(o.serverNetns, server)]
  await delay(500)
  for (const child of children)
    if (child.exitCode !== null) throw new Error('haproxy ended at once; is it installed?')
  return {
    pids: children.flatMap((child) => child.pid ?? []),
    [Symbol.asyncDispose]: async () => {
      for (const child of children) {
        if (child.exitCode !== null) continue
        const exited = once(child, 'exit')
        child.kill('SIGKILL')
        await exited
      }
      await rm(folder, { recursive: true })
    },
  }
}

const clientSide = (port: number, serverIp: string, tls: string) => `
frontend plain-${port}
  bind 127.0.0.1:${clientPortOf(port)}
  default_backend tunnel-${port}
backend tunnel-${port}
  server peer ${serverIp}:${tunnelPortOf(port)} ssl ${tls} verify required
`

const serverSide = (port: number, tls: string) => `
frontend tunnel-${port}
  bind :${tunnelPortOf(port)} ssl ${tls} verify required
  default_backend app-${port}
backend app-${port}
  server app 127.0.0.1:${port}
`

/** `nsenter` becomes haproxy (no fork), so that the child's pid is haproxy's. */
const start = (netns: string, config: string): ChildProcess =>
  spawn('nsenter', [`--net=${netns}`, 'haproxy', '-db', '-f', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
