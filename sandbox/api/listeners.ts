import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import { constants } from 'node:crypto'
import { ip, MeshError, messageOf } from '#base'
import { bindSocket, listenSocket, openNetns, tcpSocket } from '#linux'
import type { Logger } from '#telemetry'
import type { SandboxConfig } from '../config.ts'
import type { Handler } from './rest/handle.ts'

const backlog = 512
/** Connections to one listener; clients of a sandbox use a handful each. */
const maxConnections = 8_192
const handshakeTimeoutMs = 10_000
const headersTimeoutMs = 15_000
/** For a whole request; answers, watches above all, take as long as they take. */
const requestTimeoutMs = 60_000
/** Longer than Go's 90 s for idle connections, so that it is the client who closes. */
const keepAliveTimeoutMs = 120_000
const keepAliveProbeMs = 30_000

type Credentials = Readonly<{ certificate: string; key: string; clientCa: string }>

/** A server that is not listening yet. Client certificates are asked for, and checked by whoever uses them. */
export function tlsServer(credentials: Credentials, { request, upgrade }: Handler, log: Logger): Server {
  const server = createServer({
    cert: credentials.certificate,
    key: credentials.key,
    ca: credentials.clientCa,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    // A resumed session would skip the check of the client's certificate.
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: handshakeTimeoutMs,
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    noDelay: true,
    // Finds out about watchers whose machine or namespace has vanished.
    keepAlive: true,
    keepAliveInitialDelay: keepAliveProbeMs,
  })
  server.maxConnections = maxConnections
  server.on('error', (error) => log.error('listener failed', { error: messageOf(error) }))
  server.on('request', request)
  server.on('upgrade', upgrade)
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
    else socket.destroy()
  })
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return server
}

/** Listens on loopback of the namespace that the process runs in; the result is the port. */
export async function listenOnLoopback(server: Server, port: number): Promise<number> {
  await listening(server, () => server.listen({ host: '127.0.0.1', port, backlog }))
  const address = server.address()
  if (address === null || typeof address === 'string')
    throw new MeshError('bad-config', { message: 'no TCP address' })
  return address.port
}

/** Where the API server is reached inside the fabric: an address of each family, when the namespace exists. */
export async function listenInFabric(config: SandboxConfig, make: () => Server): Promise<readonly Server[]> {
  const path = `/run/netns/${config.fabric.netns}`
  if (!existsSync(path)) return []
  using netns = openNetns(path)
  const { apiIpv4, apiIpv6, apiPort } = config.fabric
  const servers: Server[] = []
  for (const address of [ip(apiIpv4), ip(apiIpv6)]) {
    // The socket belongs to the namespace it was made in, whatever thread serves it.
    const family = address.includes(':') ? 'ipv6' : 'ipv4'
    const fd = tcpSocket({
      netns,
      family,
      reuseAddress: true,
      freebind: true,
      ...(family === 'ipv6' ? { v6only: true } : {}),
    })
    bindSocket(fd, { address, port: apiPort })
    listenSocket(fd, backlog)
    const server = make()
    await listening(server, () => server.listen({ fd }))
    servers.push(server)
  }
  return servers
}

async function listening(server: Server, listen: () => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', () => {
      server.off('error', reject)
      resolve()
    })
    listen()
  })
}

/** Stops accepting, ends what is idle at once and the rest after `graceMs`. */
export async function closeServer(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const force = setTimeout(() => server.closeAllConnections(), graceMs)
  await closed
  clearTimeout(force)
}
