import { follow, maxTimerMs, MeshError } from '#base'
import type { ByteStream, InboundTunnel } from '#hbone'
import type { PortPlan } from '../route/index.ts'
import type { Accepted } from '../target/index.ts'
import { streamOf } from '../upstream/index.ts'
import type { ProxyContext } from './context.ts'
import { keepTime } from './keep-time.ts'
import { PeekedStream } from './peek.ts'
import { type Begun, denied, left, type Reached, reachTarget } from './reach-target.ts'
import { recordTcp, type TcpRecord } from './record-tcp.ts'
import { type Moved, relay, type Relayed } from './relay.ts'
import { refuse } from './refuse.ts'

/**
 * A connection as it is: to an endpoint of the service, under our identity, its bytes untouched. Never rejects. Resolves
 * with what the client speaks if that turns out to be HTTP before anything was sent either way.
 */
export async function proxyTcp(
  tunnel: InboundTunnel,
  { target, plan }: Readonly<{ target: Accepted; plan: PortPlan }>,
  ctx: ProxyContext,
  begun?: Begun,
): Promise<'http1' | 'http2' | undefined> {
  const started = performance.now()
  const record = recordTcp(ctx, tunnel, target, started)
  const abort = new AbortController()
  using _ending = follow(ctx.signal, (reason) => abort.abort(reason))
  // A connection does not outlive its right to exist.
  const revoke = (by: string) => abort.abort(closedBy(by))
  using permit = ctx.permits.open({ asker: tunnel, target, revoke })
  const refusedBy = ctx.permits.refusal(permit)
  const found =
    refusedBy === undefined
      ? await reachTarget(tunnel, target, plan, ctx, { begun, permit, signal: abort.signal })
      : { failure: denied(refusedBy) }
  if ('failure' in found) {
    record.opened(undefined)
    record.ended({ sent: 0, received: 0, error: found.failure })
    if (begun) begun.stream.destroy()
    else refuse(tunnel, found.failure)
    return undefined
  }
  const carrying: Carrying = { reached: found, record, begun, abort }
  try {
    if (!begun) tunnel.accept()
    if (!begun?.silent) {
      record.ended(await carry(tunnel, carrying))
      return undefined
    }
    const upstream = new PeekedStream(streamOf(found))
    const first = await firstWord(begun.stream, upstream, carrying)
    if (first === 'http1' || first === 'http2') {
      upstream.destroy()
      return first
    }
    record.ended(await relayCounted(begun.stream, upstream, carrying))
    return undefined
  } finally {
    left(found)
  }
}

const closedBy = (by: string) =>
  new MeshError('policy-denied', { message: `closed due to policy change: ${by}` })

/** A connection on its way. */
type Carrying = Readonly<{
  reached: Reached
  record: TcpRecord
  begun: Begun | undefined
  abort: AbortController
}>

/** Ends it when its time is over. */
const timed = ({ reached, abort }: Carrying, moved: () => number): Disposable =>
  keepTime(reached.limits, moved, (why) => abort.abort(why))

/** What either side says first. */
async function firstWord(client: PeekedStream, upstream: PeekedStream, carrying: Carrying) {
  using _time = timed(carrying, () => 0)
  using _ending = follow(carrying.abort.signal, () => client.destroy())
  return await Promise.race([client.sniff(maxTimerMs), upstream.spoken()])
}

/** The fast way where the upstream is a socket that gets every byte from the tunnel. */
async function carry(tunnel: InboundTunnel, carrying: Carrying): Promise<Relayed> {
  const { reached, record, begun, abort } = carrying
  const { link, secured, behind } = reached
  if (link.kind === 'socket' && !begun && !secured && !behind) {
    const { socket } = link
    // What waits in our own buffers has not been sent.
    const sent = () => Math.max(0, socket.bytesWritten - socket.writableLength)
    record.opened(reached, () => ({ sent: socket.bytesRead, received: sent() }))
    using _time = timed(carrying, () => socket.bytesRead + sent())
    const { toApp, fromApp, error } = await tunnel.forward(socket, abort.signal)
    return { sent: toApp, received: fromApp, ...(error === undefined ? {} : { error }) }
  }
  return relayCounted(begun?.stream ?? tunnel.byteStream(), streamOf(reached), carrying)
}

async function relayCounted(client: ByteStream, upstream: ByteStream, carrying: Carrying): Promise<Relayed> {
  const moved: Moved = { sent: 0, received: 0 }
  carrying.record.opened(carrying.reached, () => ({ sent: moved.received, received: moved.sent }))
  using _time = timed(carrying, () => moved.sent + moved.received)
  return await relay(client, upstream, carrying.abort.signal, moved)
}
