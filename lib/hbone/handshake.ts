import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect, TLSSocket } from 'node:tls'
import { MeshError, parseIp, type SocketAddress } from '#base'
import { checkPeer, clientTls, partsOf, serverTls, type SpiffeId, type WorkloadCertificate } from '#identity'
import { tlsError } from './h2-error.ts'

/** A finished handshake whose peer has been checked. */
export type Secured = Readonly<{ tls: TLSSocket; peer: SpiffeId; peerNotAfter: Date }>

type Accepts = (peer: SpiffeId) => boolean
type Waits = Readonly<{ timeoutMs: number; signal: AbortSignal }>

const reject = (message: string) => new MeshError('tls-failed', { message, unsent: true })

/** The server's half: any workload of our own trust domain may come in (ztunnel: tls/workload.rs). */
export function secureServer(socket: Socket, own: WorkloadCertificate, waits: Waits): Promise<Secured> {
  if (socket.destroyed) return Promise.reject(tlsError(new Error('connection closed')))
  const { trustDomain } = partsOf(own.id)
  const tls = new TLSSocket(socket, serverTls(own))
  return handshake(tls, 'secure', (peer) => partsOf(peer).trustDomain === trustDomain, waits)
}

/** The client's half: the peer has to be one of those that were expected. The bytes may travel in a tunnel. */
export function secureClient(
  socket: Duplex,
  own: WorkloadCertificate,
  expected: readonly SpiffeId[],
  waits: Waits,
): Promise<Secured> {
  if (socket.destroyed) return Promise.reject(tlsError(new Error('connection closed')))
  const tls = connect({ ...clientTls(own), socket })
  return handshake(tls, 'secureConnect', (peer) => expected.includes(peer), waits)
}

function handshake(
  tls: TLSSocket,
  event: string,
  accepts: Accepts,
  { timeoutMs, signal }: Waits,
): Promise<Secured> {
  return new Promise((resolve, fail) => {
    const timer = setTimeout(
      () => stop(new MeshError('timeout', { message: 'TLS handshake took too long' })),
      timeoutMs,
    )
    const finish = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      tls.off('close', onClose)
    }
    const stop = (error: unknown) => {
      finish()
      tls.destroy()
      fail(error)
    }
    const onAbort = () => stop(signal.reason)
    const onClose = () => stop(tlsError(first ?? new Error('connection closed')))
    let first: unknown
    const onError = (error: unknown) => {
      first ??= error
    }
    tls.on('error', onError)
    tls.on('_tlsError', onError)
    tls.once('close', onClose)
    tls.once(event, () => {
      const verdict = judge(tls, accepts)
      if (verdict instanceof MeshError) stop(verdict)
      else {
        finish()
        resolve(verdict)
      }
    })
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** Everything that must be true before the first byte, in the order in which it is cheap to say no. */
function judge(tls: TLSSocket, accepts: Accepts): Secured | MeshError {
  if (tls.isSessionReused()) return reject('resumed session')
  const chain = chainError(tls)
  if (chain !== undefined) return reject(`certificate of the peer: ${chain}`)
  if (tls.alpnProtocol !== 'h2') return reject('peer does not speak h2')
  if (tls.getProtocol() !== 'TLSv1.3') return reject('not TLS 1.3')
  const leaf = tls.getPeerX509Certificate()
  if (leaf === undefined) return reject('no certificate of the peer')
  const peer = checkPeer(leaf.raw)
  if (peer.kind === 'reject') return reject(`certificate of the peer: ${peer.reason}`)
  if (!accepts(peer.id)) return reject(`unexpected peer: ${peer.id}`)
  return { tls, peer: peer.id, peerNotAfter: leaf.validToDate }
}

/**
 * OpenSSL's verdict on the chain. Node itself asks this same function, for servers only inside `tls.Server`, which
 * would need a context per connection; where it is missing nobody is let in.
 */
function chainError(tls: TLSSocket): string | undefined {
  const handle: unknown = Reflect.get(tls, '_handle')
  const verify: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'verifyError') : undefined
  if (typeof verify !== 'function') return 'cannot be verified'
  const error: unknown = verify.call(handle)
  if (error === null || error === undefined) return undefined
  return error instanceof Error ? error.message : 'not verified'
}

const nowhere = parseIp('0.0.0.0')

/** The TCP address of the other end; all zeros for a socket that has none. */
export function remoteOf(socket: Socket): SocketAddress {
  const address = parseIp(socket.remoteAddress ?? '') ?? nowhere
  if (address === undefined) throw new TypeError('no address')
  return { address, port: socket.remotePort ?? 0 }
}
