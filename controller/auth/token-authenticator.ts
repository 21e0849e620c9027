import { createHash } from 'node:crypto'
import type { Metadata } from '@grpc/grpc-js'
import { messageOf, within } from '#base'
import { type KubeClient, kinds, type TokenReview } from '#kube'
import { ReviewSlots } from './review-slots.ts'

/** A service account that proved itself; `pod` only if its token is bound to one. */
export type Caller = Readonly<{
  kind: 'caller'
  namespace: string
  serviceAccount: string
  pod?: Readonly<{ name: string; uid: string }>
}>
/** `later`: nobody could say; the same token may do at the next try. */
export type Refused = Readonly<{ kind: 'refused'; reason: string; later: boolean }>

/** Who sent a request, or why that cannot be said. */
export type Authenticated = Caller | Refused
/** Says who sent a request with this metadata from this address (`host:port`). Never rejects. */
export type Authenticate = (metadata: Metadata, peer?: string) => Promise<Authenticated>

type AuthenticatorOptions = Readonly<{
  client: KubeClient
  audiences: readonly string[]
  signal: AbortSignal
  now?: () => number
}>

/** A revoked token, or that of a deleted pod, works this much longer; ztunnel's burst of CSRs at start costs one review. */
const keepMs = 5_000
/** A refusal is kept only against a client that retries in a tight loop. */
const keepRefusalMs = 1_000
const maxRemembered = 10_000
const maxTokenChars = 16_384
const reviewTimeoutMs = 10_000

const refused = (reason: string, later = false): Refused => ({ kind: 'refused', reason, later })

type Remembered = Readonly<{ answer: Authenticated; untilMs: number }>

/** Asks the API server about a token (TokenReview), and remembers its answer for a moment. */
export function tokenAuthenticator({
  client,
  audiences,
  signal,
  now = () => performance.now(),
}: AuthenticatorOptions): Authenticate {
  // Apart, so that no flood of bad tokens makes us forget the good ones.
  const callers = new Map<string, Remembered>()
  const refusals = new Map<string, Remembered>()
  const underWay = new Map<string, Promise<Authenticated>>()
  const slots = new ReviewSlots(now)
  const ask = async (token: string): Promise<Authenticated> => {
    try {
      const body: TokenReview = { metadata: {}, spec: { token, audiences } }
      return callerFrom(
        await client.create(kinds.TokenReview, body, { signal: within(reviewTimeoutMs, signal) }),
        audiences,
      )
    } catch (error) {
      return refused(`token review failed: ${messageOf(error)}`, true)
    }
  }
  const review = async (token: string, key: string, peer: string): Promise<Authenticated> => {
    const slot = await slots.take(hostOf(peer))
    if (typeof slot === 'string') {
      underWay.delete(key)
      return refused(slot, true)
    }
    const answer = without(token, await ask(token))
    const isBad = answer.kind === 'refused' && !answer.later
    slot.giveBack(isBad)
    underWay.delete(key)
    const [answers, ms] = answer.kind === 'caller' ? [callers, keepMs] : [refusals, keepRefusalMs]
    remember(answers, key, { answer, untilMs: now() + ms })
    return answer
  }
  return async (metadata, peer = '') => {
    const token = bearerOf(metadata)
    if (token === undefined) return refused('no bearer token')
    const key = createHash('sha256').update(token).digest('base64')
    const known = callers.get(key) ?? refusals.get(key)
    if (known && known.untilMs > now()) return known.answer
    callers.delete(key)
    refusals.delete(key)
    const asked = underWay.get(key)
    if (asked) return asked
    const answer = review(token, key, peer)
    underWay.set(key, answer)
    return answer
  }
}

/** What the API server says may quote what it was sent, and goes to the log. */
const without = (token: string, answer: Authenticated): Authenticated =>
  answer.kind === 'refused' ? { ...answer, reason: answer.reason.replaceAll(token, '(the token)') } : answer

/** Ports come and go; the address is what a pod cannot choose. */
const hostOf = (peer: string): string => peer.replace(/:\d+$/, '')

function bearerOf(metadata: Metadata): string | undefined {
  const [value] = metadata.get('authorization')
  const match =
    typeof value === 'string' && value.length <= maxTokenChars ? /^Bearer (\S+)$/i.exec(value) : null
  return match?.[1]
}

function remember(answers: Map<string, Remembered>, key: string, remembered: Remembered): void {
  answers.set(key, remembered)
  const [oldest] = answers.keys() // maps keep the order of insertion
  if (answers.size > maxRemembered && oldest !== undefined) answers.delete(oldest)
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
