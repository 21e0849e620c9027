import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import {
  checkServerIdentity,
  connect,
  getCACertificates,
  type PeerCertificate,
  type TLSSocket,
} from 'node:tls'
import { follow, MeshError, messageOf, timerMs } from '#base'
import { type ByteStream, socketBytes } from '#hbone'
import type { DestinationPolicy, UpstreamTls } from '#routes'
import { type Ends, proxyHeader } from './proxy-header.ts'
import { throughProxy } from './through-proxy.ts'
import { bytesOf, type Endpoint, type Leaving, type Link, reach, type ReachOptions } from './reach.ts'

type OpenOptions = ReachOptions &
  Readonly<{
    /** What a PROXY header tells of. */
    ends: Ends
    policy: Pick<DestinationPolicy, 'tls' | 'tunnel' | 'proxyProtocol'>
    /** What the connection is to the client, for a server name that no policy gives. */
    serverName: string
    /** What is spoken in it; undefined where that is not HTTP. */
    alpn?: 'h2' | 'http/1.1'
  }>

/** An open connection to an application: its way, and what is spoken to the application itself. */
export type Opened = Readonly<{
  link: Link
  secured?: TLSSocket
  /** To be sent before anything else, and not sent yet. */
  header?: Buffer
  /** What is behind a proxy: in place of the connection itself. */
  behind?: ByteStream
}>

/** What comes and goes over it; to be asked for once. */
export function streamOf({ link, secured, header, behind }: Opened): ByteStream {
  if (behind) return behind
  const stream = secured ? socketBytes(secured) : bytesOf(link)
  if (header) stream.write(header, 0, header.length)
  return stream
}

/** Opens a connection to an endpoint as its policy wants it; what we cannot do for it fails, rather than being left out. */
export async function open(endpoint: Endpoint, leaving: Leaving, o: OpenOptions): Promise<Opened> {
  const { tunnel } = o.policy
  if (!tunnel) return await openDirect(endpoint, leaving, o)
  // Istio has them for connections only.
  if (o.alpn !== undefined) throw cannot('requests through HTTP proxies')
  if (tunnel.method === 'POST') throw cannot('tunnels by POST')
  const opened = await openDirect(endpoint, leaving, o)
  const limits = { timeoutMs: o.connectTimeoutMs, signal: o.signal }
  return { link: opened.link, behind: await throughProxy(streamOf(opened), tunnel, limits) }
}

async function openDirect(endpoint: Endpoint, leaving: Leaving, o: OpenOptions): Promise<Opened> {
  const { tls, proxyProtocol } = o.policy
  const link = await reach(endpoint, leaving, o)
  const header = proxyProtocol && proxyHeader(proxyProtocol, o.ends)
  // It is outside of the TLS, as Envoy has it.
  if (tls) return { link, secured: await secure(link, tls, o, header) }
  if (header === undefined) return { link }
  if (link.kind === 'tunnel') return { link, header }
  link.socket.write(header)
  return { link }
}

const cannot = (what: string) => new MeshError('no-upstream', { message: `waypoints do not do ${what}` })

/** TLS to the application, inside of the mesh's own where it is in the mesh. */
async function secure(
  link: Link,
  tls: UpstreamTls,
  o: OpenOptions,
  header: Buffer | undefined,
): Promise<TLSSocket> {
  const servername = tls.sni ?? o.serverName
  const under = link.kind === 'socket' ? link.socket : link.tunnel.duplex()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const failed = (error: unknown) =>
    reject(
      new MeshError('tls-failed', {
        message: `TLS to ${servername} failed: ${messageOf(error)}`,
        cause: error,
        unsent: true,
      }),
    )
  try {
    if (header) under.write(header)
    const socket = connect({
      socket: under,
      ...(isIP(servername) === 0 ? { servername } : {}),
      ...trustOf(tls),
      ...clientOf(tls),
      ...(tls.revocations === undefined ? {} : { crl: readFileSync(tls.revocations) }),
      ...(o.alpn === undefined ? {} : { ALPNProtocols: [o.alpn] }),
      minVersion: 'TLSv1.2',
      rejectUnauthorized: !tls.insecureSkipVerify,
      checkServerIdentity: (_, certificate) => checkNames(tls.subjectAltNames, servername, certificate),
    })
    socket.once('secureConnect', () => resolve())
    socket.on('error', failed)
    socket.once('close', () => failed(new Error('connection closed')))
    const timer = setTimeout(() => failed(new Error('timed out')), timerMs(o.connectTimeoutMs))
    using _ending = follow(o.signal, failed)
    await promise.finally(() => clearTimeout(timer))
    return socket
  } catch (error) {
    under.destroy()
    if (error instanceof MeshError) throw error
    throw new MeshError('tls-failed', { message: messageOf(error), cause: error, unsent: true })
  }
}

/** One of the names that a policy gives, or the server name. */
function checkNames(
  names: readonly string[],
  servername: string,
  certificate: PeerCertificate,
): Error | undefined {
  if (names.length === 0) return checkServerIdentity(servername, certificate)
  const own = (certificate.subjectaltname ?? '').split(', ')
  const kinds = ['DNS', 'URI', 'IP Address']
  const isThere = names.some((name) => kinds.some((kind) => own.includes(`${kind}:${name}`)))
  return isThere ? undefined : new Error('none of the subjectAltNames is in the certificate')
}

/** Read for each connection: files are renewed. */
function trustOf({ trust }: UpstreamTls) {
  switch (trust.kind) {
    case 'none':
      throw cannot(`what the TLS settings ask for (${trust.reason})`)
    case 'system':
      return { ca: getCACertificates('system') }
    case 'pem':
      return { ca: trust.pem }
    case 'file':
      return { ca: readFileSync(trust.path) }
    case 'secret':
      throw cannot(`certificates from Secrets (${trust.name})`)
  }
}

function clientOf({ mode, client }: UpstreamTls) {
  if (mode === 'simple') return {}
  if (client?.kind !== 'files') throw cannot('client certificates from Secrets')
  return { cert: readFileSync(client.certificate), key: readFileSync(client.key) }
}
