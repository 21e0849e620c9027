import { formatAddress, MeshError, messageOf } from '#base'
import type { InboundTunnel } from '#hbone'
import { usualCapacity } from '../capacity.ts'
import { Load } from '../load.ts'
import type { Accepted } from '../target/index.ts'
import type { ProxyContext } from './context.ts'
import { proxyHttp } from './http.ts'
import { PeekedStream } from './peek.ts'
import { planOf } from './plan.ts'
import { refuse } from './refuse.ts'
import { denied } from './reach-target.ts'
import { proxyTcp } from './tcp.ts'

/** A host name is at most 253 characters; what a stranger sends beyond that is not worth a log line. */
const maxLoggedAuthority = 260

/** Of this process. */
export const tunnelLoad = new Load(usualCapacity.tunnels)

/** One CONNECT: what is it for, and what is spoken in it? Never rejects. */
export async function handleTunnel(tunnel: InboundTunnel, ctx: ProxyContext): Promise<void> {
  try {
    if (tunnel.method !== 'CONNECT')
      throw new MeshError('bad-request', { message: `incoming connection had method ${tunnel.method}` })
    using _counted = countTunnel(tunnel)
    const target = await ctx.attachments.resolve(tunnel.authority, () =>
      AbortSignal.any([tunnel.lost, ctx.signal]),
    )
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
    await serveTarget(tunnel, target, ctx, tracked)
  } catch (error) {
    logRefused(ctx, tunnel, messageOf(error), error instanceof MeshError ? error.code : 'io')
    refuse(tunnel, error)
  }
}

/** Counted from the beginning: one that waits for its answer is one, too. */
function countTunnel({ peer }: InboundTunnel): Disposable {
  if (!tunnelLoad.enter(peer))
    throw new MeshError('over-limit', { message: `${tunnelLoad.active} connections are open` })
  return { [Symbol.dispose]: () => tunnelLoad.leave(peer) }
}

/** Of a client that has to speak first. */
const firstBytesMs = 60_000

type Tracked = Readonly<{ as(protocol: 'tcp' | 'http'): void }>

/** What the owner of a port has declared comes first; otherwise the client's first bytes tell. */
async function serveTarget(
  tunnel: InboundTunnel,
  target: Accepted,
  ctx: ProxyContext,
  tracked: Tracked,
): Promise<void> {
  const plan = planOf(target, ctx)
  if (!plan)
    throw new MeshError('stale-state', { message: `the routes for ${tunnel.authority} cannot be read` })
  const { protocol } = plan.routes
  const isTcp = protocol === 'tcp' || protocol === 'tls'
  const refusedBy = isTcp ? ctx.policies.refusal(target, tunnel) : undefined
  if (refusedBy !== undefined) throw denied(refusedBy)
  tracked.as('tcp')
  const wantsName = plan.routes.l4.some(({ match }) => match.sni !== undefined)
  if (isTcp && !wantsName) return void (await proxyTcp(tunnel, { target, plan }, ctx))
  tunnel.accept()
  const stream = new PeekedStream(tunnel.byteStream())
  if (isTcp) {
    const serverName = await stream.serverName(firstBytesMs)
    return void (await proxyTcp(tunnel, { target, plan }, ctx, { stream, silent: false, serverName }))
  }
  const declared = protocol === 'http'
  const found = await stream.sniff(declared ? firstBytesMs : ctx.detectionMs)
  const serve = (spoken: 'http1' | 'http2') => {
    tracked.as('http')
    const version = spoken === 'http2' ? 'HTTP/2' : 'HTTP/1.1'
    return proxyHttp(tunnel, stream, version, target, ctx)
  }
  // A client that is told to speak HTTP and does not is answered as HTTP does.
  if (declared || found === 'http1' || found === 'http2') return serve(found === 'http2' ? found : 'http1')
  const late = ctx.policies.refusal(target, tunnel)
  if (late === undefined) {
    const silent = found === 'silent'
    const serverName = found === 'tls' && wantsName ? await stream.serverName(firstBytesMs) : ''
    const spoken = await proxyTcp(tunnel, { target, plan }, ctx, { stream, silent, serverName })
    return spoken && serve(spoken)
  }
  stream.destroy()
  logRefused(ctx, tunnel, denied(late).message, 'policy-denied')
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
