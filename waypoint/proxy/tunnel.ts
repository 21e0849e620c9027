import { formatAddress, MeshError, messageOf } from '#base'
import type { InboundTunnel } from '#hbone'
import { resolveTarget } from '../target/index.ts'
import type { ProxyContext } from './context.ts'
import { refuse } from './refuse.ts'
import { proxyTcp } from './tcp.ts'

/** A host name is at most 253 characters; what a stranger sends beyond that is not worth a log line. */
const maxLoggedAuthority = 260

/** One CONNECT: what is it for, and what is spoken in it? Never rejects. */
export async function handleTunnel(tunnel: InboundTunnel, ctx: ProxyContext): Promise<void> {
  try {
    if (tunnel.method !== 'CONNECT')
      throw new MeshError('bad-request', { message: `incoming connection had method ${tunnel.method}` })
    const { state, namespace, address, network } = ctx
    const self = { local: ctx.local(), namespace, address, network }
    const target = resolveTarget(state, self, tunnel.authority)
    if (target.kind === 'refuse') {
      tunnel.refuse(target.status)
      return logRefused(ctx, tunnel, target.message, target.reason)
    }
    using tracked = ctx.connections.open({
      src: tunnel.remote,
      peer: tunnel.peer,
      authority: tunnel.authority.slice(0, maxLoggedAuthority),
      protocol: 'unknown',
    })
    tracked.as('tcp')
    await proxyTcp(tunnel, target, ctx)
  } catch (error) {
    logRefused(ctx, tunnel, messageOf(error), error instanceof MeshError ? error.code : 'io')
    refuse(tunnel, error)
  }
}

function logRefused({ access }: ProxyContext, tunnel: InboundTunnel, error: string, reason: string): void {
  access.warn('connection failed', {
    'src.addr': formatAddress(tunnel.remote),
    'src.identity': tunnel.peer,
    'dst.hbone_addr': tunnel.authority.slice(0, maxLoggedAuthority),
    direction: 'inbound',
    error,
    reason,
  })
}
