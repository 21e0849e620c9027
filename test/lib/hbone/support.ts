import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server, Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { Test } from 'tap'
import { ip, parseIp, type SocketAddress } from '#base'
import {
  type HboneLimits,
  HbonePool,
  type HboneServerConnection,
  type InboundTunnel,
  serveHbone,
} from '#hbone'
import {
  createRoot,
  generateKeyPair,
  issueCertificate,
  type Issuer,
  parseSpiffeId,
  privateKeyPem,
  type SpiffeId,
  type WorkloadCertificate,
} from '#identity'

const hour = 3_600_000
export const never = new AbortController().signal
export const root = createRoot({ organization: 'test', validityMs: hour })

export const idOf = (name: string): SpiffeId => {
  const id = parseSpiffeId(`spiffe://cluster.local/ns/test/sa/${name}`)
  if (!id) throw new Error(name)
  return id
}

/** A certificate of `id` by `issuer`, trusting it. */
export function certificateOf(id: SpiffeId, issuer: Issuer = root, validMs = hour): WorkloadCertificate {
  const key = generateKeyPair()
  const notBefore = new Date(Date.now() + Math.min(0, validMs) - 60_000)
  const notAfter = new Date(Date.now() + validMs)
  const leaf = issueCertificate({
    issuer,
    publicKey: key.publicKey,
    uris: [id],
    notBefore,
    notAfter,
    usages: ['serverAuth', 'clientAuth'],
  })
  return {
    id,
    privateKeyPem: privateKeyPem(key.privateKey),
    chainPem: [leaf],
    rootsPem: [issuer.certPem],
    notBefore,
    notAfter,
  }
}

export const client = certificateOf(idOf('client'))
export const server = certificateOf(idOf('server'))

/** A TCP listener on a free port of the loopback. */
export async function listen(t: Test, onSocket: (socket: Socket) => void): Promise<SocketAddress> {
  const sockets = new Set<Socket>()
  const listener: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('no address')
  return { address: ip(address.address), port: address.port }
}

export async function dial(to: SocketAddress): Promise<Socket> {
  const socket = connect({ host: to.address, port: to.port, allowHalfOpen: true, noDelay: true })
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

/** Two ends of one TCP connection. */
export async function tcpPair(t: Test): Promise<readonly [Socket, Socket]> {
  const accepted = Promise.withResolvers<Socket>()
  const to = await listen(t, accepted.resolve)
  const a = await dial(to)
  t.teardown(() => void a.destroy())
  return [a, await accepted.promise]
}

export type Served = Readonly<{
  address: SocketAddress
  connections: HboneServerConnection[]
  tunnels: InboundTunnel[]
}>

/** An HBONE server; `onTunnel` accepts and echoes unless given. */
export async function serve(
  t: Test,
  onTunnel: (tunnel: InboundTunnel) => void,
  limits: Partial<HboneLimits> = {},
  certificate: WorkloadCertificate = server,
): Promise<Served> {
  const connections: HboneServerConnection[] = []
  const tunnels: InboundTunnel[] = []
  const address = await listen(t, (socket) => {
    const options = { certificate, limits, signal: never }
    connections.push(
      serveHbone(socket, {
        ...options,
        onTunnel: (tunnel) => {
          tunnels.push(tunnel)
          onTunnel(tunnel)
        },
      }),
    )
  })
  return { address, connections, tunnels }
}

export const echo = (tunnel: InboundTunnel): void => {
  tunnel.accept()
  const stream = tunnel.duplex()
  stream.on('error', () => undefined)
  stream.pipe(stream)
}

export function poolOf(t: Test, limits: Partial<HboneLimits> = {}): HbonePool {
  const pool = new HbonePool({ limits, signal: never })
  t.teardown(() => pool[Symbol.asyncDispose]())
  return pool
}

/** What `HbonePool.connect` needs to reach `to`. */
export const towards = (
  to: SocketAddress,
  certificate: WorkloadCertificate = client,
  expected = [server.id],
) => ({
  key: { source: certificate.id, expected, to, sourceIp: '127.0.0.1' },
  certificate: async () => certificate,
  dial: () => dial(to),
  authority: '10.0.0.1:80',
  headers: {},
  signal: never,
})

export const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
export const noise = (n: number): Buffer => randomBytes(n)

/** Everything a stream says until its end. Unlike `for await` this leaves the other direction alone. */
export async function readAll(stream: Readable): Promise<Buffer> {
  const parts: Buffer[] = []
  stream.on('data', (part: Buffer) => void parts.push(part))
  stream.resume()
  await once(stream, 'end')
  return Buffer.concat(parts)
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean, ms = 20_000): Promise<void> {
  const deadline = Date.now() + ms
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${condition.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export const anywhere: SocketAddress = { address: parseIp('127.0.0.1') ?? ip('127.0.0.1'), port: 0 }
