import { sleep } from '#base'
import type { PodContainer, PodProbe } from '../pod/pod.ts'
import { ask, type ProbeTarget } from './ask.ts'
import { emptyTally, judge } from './judge.ts'

type ProbeKind = 'startup' | 'liveness' | 'readiness'
export type ProbeNews =
  /** The startup probe passed (or there is none): the others begin. */
  | Readonly<{ kind: 'started' }>
  | Readonly<{ kind: 'ready'; ready: boolean }>
  /** The container must be restarted. */
  | Readonly<{ kind: 'dead'; probe: ProbeKind; message: string }>
  /** One failed answer; for an event. */
  | Readonly<{ kind: 'unhealthy'; probe: ProbeKind; message: string }>

/** A probe that is not due yet still waits a little, or a new container would always fail its first. */
const firstProbeMs = 50
/** What is not ready yet is asked this often, so that it is known to be ready soon after it is. */
const eagerMs = 250

/** Asks a running container's probes until `signal` fires; `started` says that a startup probe has passed before. */
export async function runProbes(
  container: PodContainer,
  target: ProbeTarget,
  tell: (news: ProbeNews) => void,
  started: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { startupProbe, livenessProbe, readinessProbe } = container
  try {
    if (startupProbe && !started) await untilStarted(startupProbe, target, tell, signal)
    tell({ kind: 'started' })
    await Promise.all([
      livenessProbe && watchProbe('liveness', livenessProbe, target, tell, signal),
      readinessProbe && watchProbe('readiness', readinessProbe, target, tell, signal),
    ])
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

async function untilStarted(
  probe: PodProbe,
  target: ProbeTarget,
  tell: (news: ProbeNews) => void,
  signal: AbortSignal,
) {
  let passed = false
  await loop('startup', probe, target, tell, signal, (verdict) => {
    passed = verdict
    return true
  })
  if (!passed) await sleep(2 ** 30, signal) // it is being restarted; nothing more to ask
}

const watchProbe = (
  kind: 'liveness' | 'readiness',
  probe: PodProbe,
  target: ProbeTarget,
  tell: (news: ProbeNews) => void,
  signal: AbortSignal,
) =>
  loop(kind, probe, target, tell, signal, (verdict) => {
    if (kind === 'readiness') tell({ kind: 'ready', ready: verdict })
    return kind === 'liveness' && !verdict
  })

/** Asks every period; `changed` hears each new verdict and returns whether that was the last. */
async function loop(
  kind: ProbeKind,
  probe: PodProbe,
  target: ProbeTarget,
  tell: (news: ProbeNews) => void,
  signal: AbortSignal,
  changed: (verdict: boolean) => boolean,
): Promise<void> {
  let tally = emptyTally
  let countedAt = -Infinity
  await sleep(Math.max(firstProbeMs, probe.initialDelaySeconds * 1000), signal)
  for (;;) {
    const askedAt = performance.now()
    const answer = await ask(probe, target, probe.timeoutSeconds * 1000, signal)
    signal.throwIfAborted()
    // Asking early must not use up the failures that the pod allows, so at most one a period counts.
    if (answer.passed || askedAt - countedAt >= periodMs(probe)) {
      countedAt = askedAt
      const next = judge(tally, answer.passed, probe)
      const isNew = next.verdict !== tally.verdict
      tally = next
      if (!answer.passed) tell({ kind: 'unhealthy', probe: kind, message: answer.message })
      if (!answer.passed && isNew && kind !== 'readiness')
        tell({ kind: 'dead', probe: kind, message: answer.message })
      if (isNew && next.verdict !== undefined && changed(next.verdict)) return
    }
    const eager = kind !== 'liveness' && tally.verdict !== true
    await sleep(eager ? Math.min(periodMs(probe), eagerMs) : periodMs(probe), signal)
  }
}

const periodMs = ({ periodSeconds }: PodProbe) => periodSeconds * 1000
