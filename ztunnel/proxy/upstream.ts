import type { Socket } from 'node:net'
import { unreachable } from '#base'
import { forwardSockets, type OutboundTunnel, type Transferred } from '#hbone'
import type { SpiffeId } from '#identity'
import { type Party, partyOf, requestHeaders } from '#mesh'
import type { Going, Workload } from '../state/index.ts'
import type { Ends, PodContext } from './context.ts'
import { dial } from './dial.ts'
import { openInner } from './double-hbone.ts'

/** The way to a destination, open but unused. */
export type Upstream = Readonly<{
  forward(app: Socket, signal: AbortSignal): Promise<Transferred>
  /** Who turned out to be at the other end, where that is not the one that was dialled. */
  found?: Readonly<{ destination: Workload | Party; id: SpiffeId }>
}>

type Tunnelled = Extract<Going, { via: unknown }>
type Asking = Readonly<{ ends: Ends; source: Workload; ctx: PodContext; signal: AbortSignal }>

/** Goes where the route says. When it fails nothing of the application has been sent. */
export async function openUpstream(route: Going, asking: Asking): Promise<Upstream> {
  const { ctx, signal } = asking
  switch (route.kind) {
    case 'passthrough':
    case 'direct': {
      const upstream = await dial(route.to, { ...dialing(ctx), signal })
      return { forward: (app, until) => forwardSockets(upstream, app, until) }
    }
    case 'hbone':
    case 'waypoint': {
      const tunnel = await openTunnel(route, asking)
      return { forward: (app, until) => tunnel.forward(app, until) }
    }
    case 'double-hbone':
      return openDouble(route, asking)
    default:
      return unreachable(route)
  }
}

const dialing = ({ netns, mark, tuning }: PodContext) => ({ netns, mark, tuning })

function openTunnel(route: Tunnelled, { ends, source, ctx, signal }: Asking): Promise<OutboundTunnel> {
  const { via, authority, expect, service } = route
  return ctx.pool.connect({
    key: { source: source.identity, expected: expect, to: via, sourceIp: ends.src.address },
    certificate: () => ctx.certificates.get(source.identity, ctx.signal), // others may wait for it too
    dial: (until) => dial(via, { ...dialing(ctx), signal: until }),
    authority,
    headers: requestHeaders(source, ends.src, service),
    signal,
  })
}

async function openDouble(
  route: Extract<Going, { kind: 'double-hbone' }>,
  asking: Asking,
): Promise<Upstream> {
  const { ends, source, ctx, signal } = asking
  const { authority, service, inner } = route
  const certificate = await ctx.certificates.get(source.identity, signal) // before there is an outer tunnel to lose
  const outer = await openTunnel(route, asking)
  const headers = requestHeaders(source, ends.src, service)
  const { limits, network, trust } = ctx
  const tunnel = await openInner(outer, {
    certificate,
    expected: inner.expect,
    authority,
    headers,
    network,
    limits,
    trust,
    signal,
  })
  // Of the endpoint we know only that its network has it.
  const destination = partyOf(tunnel.responseHeaders.get('baggage') ?? '') ?? inner.endpoint
  return { forward: (app, until) => tunnel.forward(app, until), found: { destination, id: tunnel.peer } }
}
