import { messageOf, sleep, within } from '#base'
import type { Logger } from '#telemetry'
import { kinds } from './kinds.ts'
import type { KubeClient } from './kube-client.ts'
import { isStatus } from './kube-error.ts'
import type { Lease } from './objects.ts'

/** Which Lease, and who we are to it. */
export type LeaseOptions = Readonly<{
  namespace: string
  name: string
  /** Who we are; a process that restarts under the same identity takes its own lease over at once. */
  identity: string
  signal: AbortSignal
  log?: Logger
  /** After this long without a renewal others may take it. client-go's default. */
  leaseMs?: number
  /** Told, each time that it is taken or renewed, until when the work may write, by our own monotonic clock. */
  onHeld?: (untilMs: number) => void
  /** Pause between tries to take or renew it. */
  retryMs?: number
}>

/** `ours` until then (in our own clock), or somebody else's. */
type Held = Readonly<{ kind: 'ours'; untilMs: number } | { kind: 'other'; holder: string }>

/**
 * Runs `lead` whenever we hold the lease; its signal fires when we may no longer hold it. Resolves when the signal fires.
 * Others' expiry is judged by how long we ourselves saw no renewal, never by comparing clocks.
 */
export async function lease(
  client: KubeClient,
  options: LeaseOptions,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { signal, log, leaseMs = defaultLeaseMs, retryMs = defaultRetryMs } = options
  const observed = { renewTime: '', atMs: performance.now(), error: '' }
  while (!signal.aborted) {
    const held = await attempt(client, options, observed, within(leaseMs, signal))
    if (held.kind === 'ours') {
      log?.info('leading', { lease: options.name, identity: options.identity })
      await hold(client, options, observed, held.untilMs, lead)
      log?.info('no longer leading', { lease: options.name })
    }
    if (!signal.aborted) await sleep(retryMs, signal).catch(() => undefined)
  }
}

/** client-go's defaults. */
const defaultLeaseMs = 15_000
const defaultRetryMs = 2_000

/** A third of the lease is left for the work to stop before somebody else may start. */
const safeMs = (untilMs: number, { leaseMs = defaultLeaseMs }: LeaseOptions): number => untilMs - leaseMs / 3

/** Takes or renews it; an API server that gives no good answer before the signal fires leaves it as it is. */
const attempt = (
  client: KubeClient,
  options: LeaseOptions,
  observed: Observed,
  signal: AbortSignal,
): Promise<Held> =>
  take(client, { ...options, signal }, observed).then(
    (held) => {
      observed.error = ''
      if (held.kind === 'ours') options.onHeld?.(safeMs(held.untilMs, options))
      return held
    },
    (error: unknown): Held => {
      const message = messageOf(error)
      // Tried again every few seconds, for as long as it takes: said once.
      if (!options.signal.aborted && message !== observed.error)
        options.log?.warn('lease not reachable', { lease: options.name, error: message })
      observed.error = message
      return { kind: 'other', holder: '' }
    },
  )

/**
 * Renews while `lead` runs. A clock of its own ends it when renewals fail, also while one of them hangs.
 */
async function hold(
  client: KubeClient,
  options: LeaseOptions,
  observed: Observed,
  untilMs: number,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { signal, log, retryMs = defaultRetryMs } = options
  const leading = new AbortController()
  const both = AbortSignal.any([signal, leading.signal])
  const endBefore = (ms: number) =>
    setTimeout(() => leading.abort(), Math.max(0, safeMs(ms, options) - performance.now()))
  let clock = endBefore(untilMs)
  const work = lead(both)
    .catch((error: unknown) => {
      if (!both.aborted) log?.error('leading ended with an error', { error: messageOf(error) })
    })
    .finally(() => leading.abort())
  while (!both.aborted) {
    await sleep(retryMs, both).catch(() => undefined)
    if (both.aborted) break
    const held = await attempt(client, options, observed, both)
    if (held.kind === 'ours') {
      clearTimeout(clock)
      clock = endBefore(held.untilMs)
    } else if (held.holder !== '') leading.abort()
  }
  clearTimeout(clock)
  await work
  if (!signal.aborted) return
  await release(client, options).catch(() => undefined)
}

/** A courtesy; an API server that does not answer must not hold up the end. */
const releaseMs = 2_000

type Observed = { renewTime: string; atMs: number; error: string }

async function take(
  client: KubeClient,
  { namespace, name, identity, signal, leaseMs = defaultLeaseMs }: LeaseOptions,
  observed: Observed,
): Promise<Held> {
  const startedMs = performance.now()
  const found = await client.find({ kind: kinds.Lease, namespace, name }, signal)
  const { holderIdentity: holder = '', renewTime = '', leaseTransitions = 0 } = found?.spec ?? {}
  if (renewTime !== observed.renewTime) Object.assign(observed, { renewTime, atMs: performance.now() })
  if (holder !== '' && holder !== identity && performance.now() - observed.atMs < leaseMs)
    return { kind: 'other', holder }
  const time = new Date().toISOString().replace('Z', '000Z') // MicroTime
  const body: Lease = {
    metadata: { ...found?.metadata, namespace, name },
    spec: {
      ...found?.spec,
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseMs / 1000),
      renewTime: time,
      ...(holder === identity ? {} : { acquireTime: time, leaseTransitions: leaseTransitions + 1 }),
    },
  }
  try {
    await (found
      ? client.update(kinds.Lease, body, { signal })
      : client.create(kinds.Lease, body, { signal }))
  } catch (error) {
    if (isStatus(error, 409)) return { kind: 'other', holder: '' } // somebody was quicker; look again
    throw error
  }
  Object.assign(observed, { renewTime: time, atMs: performance.now() })
  return { kind: 'ours', untilMs: startedMs + leaseMs }
}

/** Lets the next one start at once instead of after the lease ran out. */
async function release(client: KubeClient, { namespace, name, identity }: LeaseOptions): Promise<void> {
  const signal = AbortSignal.timeout(releaseMs)
  const found = await client.find({ kind: kinds.Lease, namespace, name }, signal)
  if (found?.spec?.holderIdentity !== identity) return
  await client.update(kinds.Lease, { ...found, spec: { ...found.spec, holderIdentity: '' } }, { signal })
}
