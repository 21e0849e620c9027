import { createHash } from 'node:crypto'
import type { Metadata } from '@grpc/grpc-js'
import { messageOf, within } from '#base'
import { type KubeClient, kinds, type TokenReview } from '#kube'

/** A service account that proved itself; `pod` only if its token is bound to one. */
export type Caller = Readonly<{
  kind: 'caller'
  namespace: string
  serviceAccount: string
  pod?: Readonly<{ name: string; uid: string }>
}>
/** `later`: nobody could say; the same token may do at the next try. */
export type Refused = Readonly<{ kind: 'refused'; reason: string; later: boolean }>
export type Authenticated = Caller | Refused
/** Says who sent a request with this metadata. Never rejects. */
export type Authenticate = (metadata: Metadata) => Promise<Authenticated>

export type AuthenticatorOptions = Readonly<{
  client: KubeClient
  audiences: readonly string[]
  signal: AbortSignal
  now?: () => number
}>

/** A revoked token works this much longer; ztunnel's burst of CSRs at start costs one review. */
const keepMs = 10_000
/** A refusal is kept only against a client that retries in a tight loop. */
const keepRefusalMs = 1_000
const maxRemembered = 10_000
const maxTokenChars = 16_384
const reviewTimeoutMs = 10_000
/** Reviews under way; more are refused, to be tried again. */
const maxReviews = 64

const refused = (reason: string, later = false): Refused => ({ kind: 'refused', reason, later })

type Remembered = Readonly<{ answer: Promise<Authenticated>; untilMs: number }>

export function tokenAuthenticator({
  client,
  audiences,
  signal,
  now = () => performance.now(),
}: AuthenticatorOptions): Authenticate {
  const remembered = new Map<string, Remembered>()
  let reviews = 0
  const review = async (token: string): Promise<Authenticated> => {
    if (reviews >= maxReviews) return refused('too many token reviews at once', true)
    reviews++
    try {
      const body: TokenReview = { metadata: {}, spec: { token, audiences } }
      return callerFrom(
        await client.create(kinds.TokenReview, body, { signal: within(reviewTimeoutMs, signal) }),
        audiences,
      )
    } catch (error) {
      return refused(`token review failed: ${messageOf(error)}`, true)
    } finally {
      reviews--
    }
  }
  return async (metadata) => {
    const token = bearerOf(metadata)
    if (token === undefined) return refused('no bearer token')
    const key = createHash('sha256').update(token).digest('base64')
    const known = remembered.get(key)
    if (known && known.untilMs > now()) return known.answer
    const answer = review(token)
    remembered.delete(key)
    remembered.set(key, { answer, untilMs: now() + keepMs })
    forgetOldest(remembered)
    const { kind } = await answer
    if (kind === 'refused') remembered.set(key, { answer, untilMs: now() + keepRefusalMs })
    return answer
  }
}

function bearerOf(metadata: Metadata): string | undefined {
  const [value] = metadata.get('authorization')
  const match =
    typeof value === 'string' && value.length <= maxTokenChars ? /^Bearer (\S+)$/i.exec(value) : null
  return match?.[1]
}

/** Maps keep the order of insertion. */
function forgetOldest(remembered: Map<string, unknown>): void {
  for (const key of remembered.keys()) {
    if (remembered.size <= maxRemembered) return
    remembered.delete(key)
  }
}

const accountPattern = /^system:serviceaccount:([a-z0-9.-]+):([a-z0-9.-]+)$/
const podName = 'authentication.kubernetes.io/pod-name'
const podUid = 'authentication.kubernetes.io/pod-uid'

/** The caller in the API server's answer. A token for none of our audiences is no token. */
export function callerFrom({ status = {} }: TokenReview, audiences: readonly string[]): Authenticated {
  if (status.authenticated !== true)
    return refused(`token not accepted: ${status.error ?? 'no reason given'}`)
  if (!(status.audiences ?? []).some((audience) => audiences.includes(audience)))
    return refused('token is for another audience')
  const [, namespace, serviceAccount] = accountPattern.exec(status.user?.username ?? '') ?? []
  if (namespace === undefined || serviceAccount === undefined)
    return refused('token is not that of a service account')
  const [name, uid] = [status.user?.extra?.[podName]?.[0], status.user?.extra?.[podUid]?.[0]]
  return { kind: 'caller', namespace, serviceAccount, ...(name && uid ? { pod: { name, uid } } : {}) }
}
