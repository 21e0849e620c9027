import { messageOf, sleep, within } from '#base'
import { isStatus, type KubeClient, KubeError, kinds, pathOf } from '#kube'
import type { Logger } from '#telemetry'

/** What the API server does while the webhook does not answer. */
export type FailurePolicy = 'Fail' | 'Ignore'
/** What became of an object that our webhook must refuse. */
export type Proof =
  | Readonly<{ kind: 'refused' }>
  | Readonly<{ kind: 'let-through' }>
  | Readonly<{ kind: 'unanswered'; why: string }>
  | Readonly<{ kind: 'impossible'; why: string }>

/** With it an object asks to be refused; Istio's own controller looks for the same. */
const alwaysReject = 'internal.istio.io/webhook-always-reject'

/** What an answer to the trial says; undefined: it was let through. */
export function proofOf(error: unknown): Proof {
  if (error === undefined) return { kind: 'let-through' }
  const why = messageOf(error)
  if (why.includes(alwaysReject)) return { kind: 'refused' }
  // Neither the right nor the kind is there: no trial will tell more.
  if (isStatus(error, 403) || isStatus(error, 404)) return { kind: 'impossible', why }
  return { kind: 'unanswered', why: error instanceof KubeError ? why : 'no answer' }
}

/** What is known of the webhook: the policy that it has earned, and how often in a row it was missed. */
export type Standing = Readonly<{ policy: FailurePolicy | undefined; misses: number }>

/** One lost answer is no reason to open up; three in a row are. */
const maxMisses = 3

/** What the webhook's failure policy should be after one more trial; undefined: as it was found. */
export function standingAfter({ policy, misses }: Standing, proof: Proof): Standing {
  if (proof.kind === 'refused') return { policy: 'Fail', misses: 0 }
  if (proof.kind === 'impossible') return { policy, misses }
  return misses + 1 >= maxMisses ? { policy: 'Ignore', misses: maxMisses } : { policy, misses: misses + 1 }
}

type TrialOptions = Readonly<{ client: KubeClient; namespace: string; revision: string; signal: AbortSignal }>

/** Longer than the API server waits for the webhook. */
const trialMs = 15_000

/** Writes, for show only, what our webhook refuses; would it be written after all, it would do nothing. */
async function trial({ client, namespace, revision, signal }: TrialOptions): Promise<Proof> {
  const { apiVersion, kind } = kinds.PeerAuthentication
  const metadata = {
    name: 'istiod-webhook-trial',
    namespace,
    labels: { 'istio.io/rev': revision },
    annotations: { [alwaysReject]: 'true' },
  }
  const body = {
    apiVersion,
    kind,
    metadata,
    spec: { selector: { matchLabels: { 'istiod-webhook-trial': '' } } },
  }
  const path = pathOf(kinds.PeerAuthentication, { namespace })
  const query = { dryRun: 'All' }
  return client.request('POST', path, body, { query, signal: within(trialMs, signal) }).then(
    () => proofOf(undefined),
    (error: unknown) => proofOf(error),
  )
}

type ProvingOptions = Omit<TrialOptions, 'signal'> &
  Readonly<{
    /** Is there a configuration of ours that the API server can reach us by? */
    isConfigured: () => boolean
    onChange: (policy: FailurePolicy) => void
    log: Logger
    pauseMs?: Pauses
  }>

/** Between trials; shorter until the webhook is known to work. */
export type Pauses = Readonly<{ proved: number; unproved: number }>
const pauses: Pauses = { proved: 30_000, unproved: 2_000 }

/** Tries again and again whether the webhook is at work, and tells when what to do without it changes. */
export async function keepProving(o: ProvingOptions, signal: AbortSignal): Promise<void> {
  const { log, pauseMs = pauses } = o
  let standing: Standing = { policy: undefined, misses: 0 }
  let told = ''
  while (!signal.aborted) {
    const proof: Proof = o.isConfigured() ? await trial({ ...o, signal }) : { kind: 'impossible', why: '' }
    if (signal.aborted) return
    const next = standingAfter(standing, proof)
    const why = 'why' in proof ? proof.why : ''
    if (proof.kind !== 'refused' && why !== told)
      log.warn('the webhook is not known to work', { proof: proof.kind, why })
    told = why
    if (next.policy !== undefined && next.policy !== standing.policy) {
      log.info('failure policy of the webhook', { policy: next.policy })
      o.onChange(next.policy)
    }
    standing = next
    await sleep(
      standing.policy === 'Fail' && standing.misses === 0 ? pauseMs.proved : pauseMs.unproved,
      signal,
    ).catch(() => undefined)
  }
}
