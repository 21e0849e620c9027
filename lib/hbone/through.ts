import type { SpiffeId, Trust, WorkloadCertificate } from '#identity'
import { openTunnel } from './client.ts'
import { secureClient } from './handshake.ts'
import { type HboneLimits, limitsOf } from './limits.ts'
import { Session } from './session.ts'
import type { OutboundTunnel } from './tunnel.ts'

/** What a tunnel in a tunnel is for. */
export type ThroughOptions = Readonly<{
  certificate: WorkloadCertificate
  /** Who may be at the far end of `outer`; nobody where this is empty. */
  expected: readonly SpiffeId[]
  authority: string
  headers: Readonly<Record<string, string>>
  limits?: Partial<HboneLimits>
  trust?: Trust
  /** Ends the attempt; an open tunnel lives on. */
  signal: AbortSignal
}>

/**
 * A tunnel inside of a tunnel (double HBONE): TLS and HTTP/2 of its own through `outer`, with one CONNECT on it. It
 * owns `outer` from here on: the end of the inner tunnel, or a failed attempt, ends both (ztunnel: outbound.rs).
 */
export async function connectThrough(outer: OutboundTunnel, o: ThroughOptions): Promise<OutboundTunnel> {
  const limits = limitsOf(o.limits)
  const view = outer.duplex()
  // Its errors arrive through TLS.
  view.on('error', () => undefined)
  try {
    const waits = { timeoutMs: limits.handshakeMs, signal: o.signal, trust: o.trust }
    const secured = await secureClient(view, o.certificate, o.expected, waits)
    const session = new Session({
      ...secured,
      remote: outer.remote,
      role: 'client',
      limits,
      events: { request: () => undefined, ready: () => undefined, goaway: () => undefined },
      closesUnused: true,
      closed: () => view.destroy(),
    })
    const tunnel = await openTunnel(session, o.authority, o.headers, limits.answerMs, o.signal)
    if ('unserved' in tunnel) throw tunnel.why
    return tunnel
  } catch (error) {
    view.destroy()
    throw error
  }
}
