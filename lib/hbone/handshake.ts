import type { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect, TLSSocket } from 'node:tls'
import { codeOf, MeshError, messageOf, parseIp, type SocketAddress } from '#base'
import {
  admitPeer,
  checkPeer,
  clientTls,
  partsOf,
  type Peer,
  type Refusal,
  serverTls,
  type SpiffeId,
  type Trust,
  type WorkloadCertificate,
} from '#identity'
import { tlsError } from './h2-error.ts'

/** A finished handshake whose peer has been checked. */
type Secured = Readonly<{ tls: TLSSocket; peer: Peer }>

type Waits = Readonly<{ timeoutMs: number; signal: AbortSignal; trust?: Trust | undefined }>
type Side = Readonly<{
  event: 'secure' | 'secureConnect'
  reporter: 'source' | 'destination'
  own: WorkloadCertificate
  accepts: (peer: SpiffeId) => boolean
  trust: Trust
}>

/** The server's half: any workload of our own trust domain may come in (ztunnel: tls/workload.rs). */
export function secureServer(socket: Socket, own: WorkloadCertificate, waits: Waits): Promise<Secured> {
  const { trust = {} } = waits
  const tls = begin(socket, () => new TLSSocket(socket, serverTls(own, trust.keyExchange)))
  if (tls instanceof MeshError) return Promise.reject(tls)
  const { trustDomain } = partsOf(own.id)
  const accepts = (peer: SpiffeId) => partsOf(peer).trustDomain === trustDomain
  return handshake(tls, { event: 'secure', reporter: 'destination', own, accepts, trust }, waits)
}

/** The client's half: the peer has to be one of those that were expected. The bytes may travel in a tunnel. */
export function secureClient(
  socket: Duplex,
  own: WorkloadCertificate,
  expected: readonly SpiffeId[],
  waits: Waits,
): Promise<Secured> {
  const { trust = {} } = waits
  const tls = begin(socket, () => connect({ ...clientTls(own, trust.keyExchange), socket }))
  if (tls instanceof MeshError) return Promise.reject(tls)
  const accepts = (peer: SpiffeId) => expected.includes(peer)
  return handshake(tls, { event: 'secureConnect', reporter: 'source', own, accepts, trust }, waits)
}

/** A certificate or key of ours that cannot be used ends the connection, as everything else does. */
function begin(socket: Duplex, start: () => TLSSocket): TLSSocket | MeshError {
  if (socket.destroyed) return tlsError(new Error('connection closed'))
  try {
    return start()
  } catch (error) {
    socket.destroy()
    return tlsError(error)
  }
}

function handshake(tls: TLSSocket, side: Side, { timeoutMs, signal }: Waits): Promise<Secured> {
  return new Promise((resolve, fail) => {
    const timer = setTimeout(
      () => refuse({ reason: 'timeout', code: 'timeout', message: 'TLS handshake took too long' }),
      timeoutMs,
    )
    const finish = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      tls.off('close', onClose)
      tls.off('end', onClose)
    }
    const stop = (error: unknown) => {
      finish()
      tls.destroy()
      fail(error)
    }
    const refuse = ({ reason, code, message }: Refused) => {
      side.trust.metrics?.refused(side.reporter, reason)
      stop(new MeshError(code, { message, unsent: true }))
    }
    const onAbort = () => stop(signal.reason)
    const onClose = () => {
      if (tls.authorizationError) return refuse(faultOf(first))
      side.trust.metrics?.refused(side.reporter, 'handshake')
      stop(tlsError(first ?? new Error('connection closed')))
    }
    let first: unknown
    const onError = (error: unknown) => {
      first ??= error
    }
    tls.on('error', onError)
    tls.on('_tlsError', onError)
    tls.once('close', onClose)
    // Sockets that may be half open stay so for those who end before they have said who they are.
    tls.once('end', onClose)
    tls.once(side.event, () => {
      const verdict = judged(tls, side)
      if ('reason' in verdict) refuse(verdict)
      else {
        finish()
        // Outside of `tls.Server` Node only reports what breaks TLS after the handshake, and lets the socket hang.
        tls.on('_tlsError', (error: Error) => tls.destroy(error))
        resolve(verdict)
      }
    })
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
}

type Refused = Readonly<{
  reason: Refusal
  code: 'tls-failed' | 'cert-revoked' | 'timeout'
  message: string
}>
const no = (reason: Refusal, message: string): Refused => ({ reason, code: 'tls-failed', message })

/** Larger leafs are no workload's (facts: security.md ID-3). */
const maxLeafBytes = 8 << 10

/** Nothing that a peer shows may throw past this, whatever we have overlooked. */
function judged(tls: TLSSocket, side: Side): Secured | Refused {
  try {
    return judge(tls, side)
  } catch (error) {
    return no('untrusted', `certificate of the peer cannot be judged: ${messageOf(error)}`)
  }
}

/** Everything that must be true before the first byte, in the order in which it is cheap to say no. */
function judge(tls: TLSSocket, { own, reporter, accepts, trust }: Side): Secured | Refused {
  if (tls.isSessionReused()) return no('protocol', 'resumed session')
  const fault = chainFault(tls)
  if (fault) return fault
  if (tls.alpnProtocol !== 'h2') return no('protocol', 'peer does not speak h2')
  if (tls.getProtocol() !== 'TLSv1.3') return no('protocol', 'not TLS 1.3')
  const leaf = tls.getPeerX509Certificate()
  if (leaf === undefined) return no('no-certificate', 'no certificate of the peer')
  if (leaf.raw.length > maxLeafBytes)
    return no('not-a-workload', 'certificate of the peer: larger than 8 KiB')
  const found = checkPeer(leaf.raw)
  if (found.kind === 'reject') return no('not-a-workload', `certificate of the peer: ${found.reason}`)
  if (!accepts(found.id)) return no('unexpected-identity', `unexpected peer: ${found.id}`)
  const peer = admitPeer({ id: found.id, leaf, own, reporter }, trust)
  if (peer === 'revoked')
    return { reason: 'revoked', code: 'cert-revoked', message: 'certificate of the peer has been revoked' }
  if (peer === 'untracked') return no('untrusted', 'certificate of the peer: chain cannot be followed')
  return { tls, peer }
}

/**
 * OpenSSL's verdict on the chain. Node itself asks this same function, for servers only inside `tls.Server`, which
 * would need a context per connection; where it is missing nobody is let in.
 */
function chainFault(tls: TLSSocket): Refused | undefined {
  const handle: unknown = Reflect.get(tls, '_handle')
  const verify: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'verifyError') : undefined
  if (typeof verify !== 'function') return no('untrusted', 'certificate of the peer: cannot be verified')
  const error: unknown = verify.call(handle)
  if (error === null || error === undefined) return undefined
  return faultOf(error, tls.getPeerX509Certificate())
}

/** Node ends some sentences with advice for people at a desk. */
const advice = /; if the root CA .*/

/** OpenSSL's verdict in our words. */
function faultOf(error: unknown, leaf?: X509Certificate): Refused {
  const code = codeOf(error)
  if (code === 'CERT_NOT_YET_VALID' || code === 'CERT_HAS_EXPIRED') return timeFault(code, leaf)
  return no('untrusted', `certificate of the peer: ${messageOf(error).replace(advice, '') || 'not verified'}`)
}

/** A certificate out of its time: with renewal at half-life that is seldom its age, and mostly somebody's clock. */
function timeFault(code: 'CERT_NOT_YET_VALID' | 'CERT_HAS_EXPIRED', leaf?: X509Certificate): Refused {
  const now = Date.now()
  if (code === 'CERT_NOT_YET_VALID') {
    const early = leaf ? leaf.validFromDate.getTime() - now : 0
    const by = early > 0 ? ` for another ${seconds(early)} s` : ''
    return no('not-yet-valid', `certificate of the peer is not yet valid${by} by our clock: clock skew?`)
  }
  // If it is not the leaf it is a CA of the chain.
  const late = leaf ? now - leaf.validToDate.getTime() : 0
  const ago = late > 0 ? ` ${seconds(late)} s ago` : ''
  return no('expired', `certificate of the peer has expired${ago} by our clock: not renewed, or clock skew?`)
}

const seconds = (ms: number) => Math.round(ms / 1_000)

const nowhere = parseIp('0.0.0.0')

/** The TCP address of the other end; all zeros for a socket that has none. */
export function remoteOf(socket: Socket): SocketAddress {
  const address = parseIp(socket.remoteAddress ?? '') ?? nowhere
  if (address === undefined) throw new TypeError('no address')
  return { address, port: socket.remotePort ?? 0 }
}
