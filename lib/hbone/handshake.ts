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
export type Secured = Readonly<{ tls: TLSSocket; peer: Peer }>

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
  if (socket.destroyed) return Promise.reject(tlsError(new Error('connection closed')))
  const { trustDomain } = partsOf(own.id)
  const { trust = {} } = waits
  const tls = new TLSSocket(socket, serverTls(own, trust.keyExchange))
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
  if (socket.destroyed) return Promise.reject(tlsError(new Error('connection closed')))
  const { trust = {} } = waits
  const tls = connect({ ...clientTls(own, trust.keyExchange), socket })
  const accepts = (peer: SpiffeId) => expected.includes(peer)
  return handshake(tls, { event: 'secureConnect', reporter: 'source', own, accepts, trust }, waits)
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
      const time = timeFault(first)
      if (time) return refuse(time)
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
    tls.once(side.event, () => {
      const verdict = judge(tls, side)
      if ('reason' in verdict) refuse(verdict)
      else {
        finish()
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
  return (
    timeFault(error, tls) ?? no('untrusted', `certificate of the peer: ${messageOf(error) || 'not verified'}`)
  )
}

/** A certificate out of its time: with renewal at half-life that is seldom its age, and mostly somebody's clock. */
function timeFault(error: unknown, tls?: TLSSocket): Refused | undefined {
  const code = codeOf(error)
  const leaf = tls?.getPeerX509Certificate()
  const seconds = (date: Date) => Math.round(Math.abs(date.getTime() - Date.now()) / 1_000)
  if (code === 'CERT_NOT_YET_VALID') {
    const by = leaf ? ` for another ${seconds(leaf.validFromDate)} s` : ''
    const message = `certificate of the peer is not yet valid${by} by our clock: clock skew?`
    return no('not-yet-valid', message)
  }
  if (code !== 'CERT_HAS_EXPIRED') return undefined
  const ago = leaf ? ` ${seconds(leaf.validToDate)} s ago` : ''
  return no('expired', `certificate of the peer has expired${ago} by our clock: not renewed, or clock skew?`)
}

const nowhere = parseIp('0.0.0.0')

/** The TCP address of the other end; all zeros for a socket that has none. */
export function remoteOf(socket: Socket): SocketAddress {
  const address = parseIp(socket.remoteAddress ?? '') ?? nowhere
  if (address === undefined) throw new TypeError('no address')
  return { address, port: socket.remotePort ?? 0 }
}
