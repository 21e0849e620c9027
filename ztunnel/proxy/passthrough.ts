import type { Socket } from 'node:net'
import { formatAddress, MeshError } from '#base'
import { breakOff, forwardSockets } from '#hbone'
import { explainDecision } from '#policy'
import { ownPorts, type Workload } from '../state/index.ts'
import { type Ends, localWorkload, type PodContext } from './context.ts'
import { dial } from './dial.ts'
import { endingOf } from './inbound.ts'
import { onlyService } from './inbound-facts.ts'
import { policiesOf } from './open-connection.ts'
import { logEarlyFailure, recordConnection } from './record.ts'
import { endsOf, endWhenIdle, intendedDst, tame } from './sockets.ts'

/** Plaintext that came for the pod (15006): judged without an identity, then forwarded as it is. */
export async function handlePlaintext(peer: Socket, ctx: PodContext): Promise<void> {
  tame(peer)
  const accepted = endsOf(peer)
  if (!accepted) return void peer.destroy()
  let ends: Ends = accepted
  try {
    ends = { src: accepted.src, dst: intendedDst(peer, accepted.dst) }
    if (ownPorts.has(ends.dst.port)) throw new MeshError('self-call', { message: 'attempted self call' })
    const local = await localWorkload(ctx, ctx.signal)
    await proxyPlaintext(peer, ends, local, ctx)
  } catch (error) {
    logEarlyFailure(ctx.access, 'inbound', ends, error)
    breakOff(peer)
  }
}

async function proxyPlaintext(
  peer: Socket,
  { src, dst }: Ends,
  local: Workload,
  ctx: PodContext,
): Promise<void> {
  const finish = recordConnection(ctx, {
    direction: 'inbound',
    src,
    dst,
    source: ctx.state.workloadAt(ctx.network, src.address),
    destination: local,
    service: onlyService(local, ctx.state),
  })
  const judged = { source: src.address, peer: undefined, destination: dst }
  using tracked = ctx.connections.open(
    {
      podUid: ctx.pod.uid,
      pod: ctx.pod,
      direction: 'inbound',
      src,
      originalDst: formatAddress(dst),
      actualDst: dst,
      protocol: 'TCP',
      judged,
    },
    ctx.signal,
  )
  const decision = ctx.connections.judge(ctx.pod.uid, ctx.state, local, judged)
  if (decision.verdict === 'deny') {
    const failure = new MeshError('policy-denied', { message: explainDecision(decision) })
    finish({ failure, policies: policiesOf(decision) })
    return breakOff(peer)
  }
  try {
    const { netns, mark, tuning } = ctx
    const as = ctx.showsSource() ? src.address : undefined
    const app = await dial(dst, { netns, mark, tuning, as, signal: tracked.signal })
    finish.watch(app)
    endWhenIdle(app, tuning.idleMs, tracked)
    const moved = await forwardSockets(peer, app, tracked.signal)
    finish(endingOf(moved, tracked))
  } catch (failure) {
    finish(endingOf({ toApp: 0, fromApp: 0, error: failure }, tracked))
    breakOff(peer)
  }
}
