import { follow } from '#base'
import type { ByteStream, InboundTunnel } from '#hbone'
import { type HttpVersion, serveHttp } from '#http'
import { handleRequest } from '../phases.ts'
import type { HttpFacts } from '../phase/call.ts'
import { faultAnswer, recordFault } from '../phase/record-fault.ts'
import type { Accepted } from '../target/index.ts'
import { callerOf } from './caller.ts'
import type { ProxyContext } from './context.ts'
import { followLeaving, tellLater } from './leaving.ts'
import { planOf } from './plan.ts'

/** The requests of one connection. Resolves when it is over; never rejects. */
export async function proxyHttp(
  tunnel: InboundTunnel,
  stream: ByteStream,
  version: HttpVersion,
  target: Accepted,
  ctx: ProxyContext,
): Promise<void> {
  const facts = presentFacts(tunnel, target, ctx)
  // The first request may be here before the connection is.
  const leave = new AbortController()
  const connection = serveHttp(stream, {
    version,
    scheme: 'http',
    onExchange: (exchange) => {
      const now = facts()
      // Its client goes another way with the next connection.
      if (now.target.reason === 'detached' && target.reason !== 'detached') leave.abort()
      void handleRequest(exchange, now, ctx.http)
    },
    onFault: (fault, exchange) => {
      const { status, reason } = fault
      ctx.log.debug('a client broke the rules of HTTP', { status, reason, 'src.identity': tunnel.peer })
      // A request that is under way tells of its end itself.
      if (!exchange) recordFault(fault, facts(), ctx.http)
      return faultAnswer(fault)
    },
  })
  using _detached = follow(leave.signal, () => connection.drain())
  using _late = target.reason === 'detached' ? tellLater(() => connection.drain()) : undefined
  // Its node's proxy is replaced, say: the client's next connection goes through the new one.
  tunnel.onLeaving(() => !ctx.draining.aborted && connection.drain())
  using _leaving = followLeaving(ctx, () => connection.drain())
  using _ending = follow(ctx.signal, () => connection.destroy())
  await connection.done
}

/** What is true of a request that comes now: the mesh changes while a tunnel is open. */
function presentFacts(tunnel: InboundTunnel, opened: Accepted, ctx: ProxyContext): () => HttpFacts {
  const present = ctx.attachments.present(tunnel.authority, opened)
  let facts = factsOf(tunnel, opened, ctx)
  return () => {
    const target = present()
    if (target.kind === 'refuse') facts = { ...facts, lost: target.reason }
    else if (target !== facts.target || facts.lost !== undefined) facts = factsOf(tunnel, target, ctx)
    return facts
  }
}

function factsOf(tunnel: InboundTunnel, target: Accepted, ctx: ProxyContext): HttpFacts {
  const source = ctx.state.workloadAt(ctx.network, tunnel.remote.address)
  return {
    peer: tunnel.peer,
    client: tunnel.remote,
    local: target.judged,
    source,
    caller: callerOf(tunnel, ctx),
    target,
    service: target.kind === 'service' ? target.service : undefined,
    plan: () => planOf(target, ctx),
    lost: undefined,
  }
}
