import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { type Claims, signJwt, type SigningKey, verifyJwt } from './jwt.ts'
import { authenticated, serviceAccountGroups, serviceAccountUsername, type User } from './user.ts'

/** `iss` of our tokens and the audience of the API server itself. */
export const tokenIssuer = 'https://kubernetes.default.svc.cluster.local'
export const defaultAudiences: readonly string[] = [tokenIssuer]
const defaultExpirationSeconds = 3600
/** Kubernetes' bounds of TokenRequest.spec.expirationSeconds. */
const minExpirationSeconds = 600
const maxExpirationSeconds = 2 ** 32
const maxAudiences = 32

type Named = Readonly<{ name: string; uid: string }>
/** What a token speaks for. */
export type ServiceAccountRef = Readonly<{ namespace: string; name: string; uid: string }>
/** What a token dies with; a pod's token also names the pod's node. */
export type TokenBinding = Readonly<
  ({ kind: 'Pod'; node?: Named } & Named) | ({ kind: 'Secret' } & Named) | ({ kind: 'Node' } & Named)
>
/** `spec` of a TokenRequest. */
export type TokenRequestSpec = Readonly<{ audiences?: readonly string[]; expirationSeconds?: number }>
/** `status` of a TokenRequest. */
export type IssuedToken = Readonly<{ token: string; expirationTimestamp: string }>
/** The uid of an object that exists now; undefined when it does not. */
export type UidLookup = (
  kind: 'ServiceAccount' | 'Pod' | 'Secret' | 'Node',
  namespace: string | undefined,
  name: string,
) => string | undefined

const named = z.object({ name: z.string().min(1), uid: z.string().min(1) })
const TokenClaims = z.object({
  iss: z.literal(tokenIssuer),
  aud: z.array(z.string()).min(1),
  exp: z.number(),
  iat: z.number(),
  nbf: z.number(),
  jti: z.string(),
  sub: z.string(),
  'kubernetes.io': z.object({
    namespace: z.string().min(1),
    serviceaccount: named,
    pod: named.optional(),
    secret: named.optional(),
    node: named.optional(),
  }),
})
type TokenClaims = z.infer<typeof TokenClaims>

/** A new token, or the reason why such a request is invalid. */
export function issueToken(
  key: SigningKey,
  spec: TokenRequestSpec,
  account: ServiceAccountRef,
  binding: TokenBinding | undefined,
  now: Date,
): IssuedToken | { reject: string } {
  const seconds = spec.expirationSeconds ?? defaultExpirationSeconds
  if (!(seconds >= minExpirationSeconds))
    return {
      reject: `spec.expirationSeconds: Invalid value: ${seconds}: may not specify a duration less than 10 minutes`,
    }
  if (seconds > maxExpirationSeconds)
    return { reject: `spec.expirationSeconds: Too long: may not specify a duration larger than 2^32 seconds` }
  if ((spec.audiences?.length ?? 0) > maxAudiences)
    return { reject: `spec.audiences: Too many: must have at most ${maxAudiences} items` }
  const iat = Math.floor(now.getTime() / 1000)
  const exp = iat + Math.floor(seconds)
  const claims: TokenClaims = {
    aud: [...(spec.audiences?.length ? spec.audiences : defaultAudiences)],
    exp,
    iat,
    iss: tokenIssuer,
    jti: randomUUID(),
    'kubernetes.io': {
      namespace: account.namespace,
      serviceaccount: { name: account.name, uid: account.uid },
      ...boundClaims(binding),
    },
    nbf: iat,
    sub: serviceAccountUsername(account.namespace, account.name),
  }
  return {
    token: signJwt(claims, key),
    expirationTimestamp: new Date(exp * 1000).toISOString().replace('.000Z', 'Z'),
  }
}

const nameAndUid = ({ name, uid }: Named): Named => ({ name, uid })

function boundClaims(binding: TokenBinding | undefined) {
  if (!binding) return {}
  switch (binding.kind) {
    case 'Pod':
      return {
        pod: nameAndUid(binding),
        ...(binding.node && { node: nameAndUid(binding.node) }),
      }
    case 'Secret':
      return { secret: nameAndUid(binding) }
    case 'Node':
      return { node: nameAndUid(binding) }
  }
}

/** What a token proves for `audiences`: the user and the audiences that both sides named, or why it proves nothing. */
export type TokenVerdict =
  | Readonly<{ kind: 'valid'; user: User; audiences: readonly string[] }>
  | Readonly<{ kind: 'reject'; reason: string }>

/** Signature, issuer, times, audience, and that everything the token is bound to still exists under the same uid. */
export function checkToken(
  key: SigningKey,
  token: string,
  audiences: readonly string[],
  lookup: UidLookup,
  now: Date,
): TokenVerdict {
  const verified = verifyJwt(token, key)
  if ('reject' in verified) return { kind: 'reject', reason: verified.reject }
  const claims = parseClaims(verified.claims)
  if (!claims) return { kind: 'reject', reason: 'token is not one of a service account' }
  const shared = claims.aud.filter((audience) => audiences.includes(audience))
  if (shared.length === 0)
    return {
      kind: 'reject',
      reason: `token audiences [${claims.aud.join(' ')}] is invalid for the target audiences [${audiences.join(' ')}]`,
    }
  const reason = untimely(claims, now) ?? unbound(claims, lookup)
  return reason ? { kind: 'reject', reason } : { kind: 'valid', user: userOf(claims), audiences: shared }
}

function parseClaims(claims: Claims): TokenClaims | undefined {
  const parsed = TokenClaims.safeParse(claims)
  if (!parsed.success) return undefined
  const {
    sub,
    'kubernetes.io': { namespace, serviceaccount },
  } = parsed.data
  return sub === serviceAccountUsername(namespace, serviceaccount.name) ? parsed.data : undefined
}

function untimely({ exp, nbf }: TokenClaims, now: Date): string | undefined {
  const seconds = now.getTime() / 1000
  if (seconds >= exp) return 'service account token has expired'
  // Signer and verifier are one process on one clock; a minute covers a clock that was set back.
  return seconds < nbf - 60 ? 'service account token is not valid yet' : undefined
}

function unbound({ 'kubernetes.io': claims }: TokenClaims, lookup: UidLookup): string | undefined {
  const { namespace, serviceaccount, pod, secret, node } = claims
  const bound = [
    ['ServiceAccount', namespace, serviceaccount],
    ['Pod', namespace, pod],
    ['Secret', namespace, secret],
    // Of a pod's token the node is a remark; only a token bound to the node itself dies with the node.
    ['Node', undefined, pod ? undefined : node],
  ] as const
  for (const [kind, at, ref] of bound) {
    if (!ref) continue
    const uid = lookup(kind, at, ref.name)
    if (uid === undefined)
      return `service account token is bound to ${kind} ${ref.name}, which does not exist`
    if (uid !== ref.uid) return `service account token is bound to another ${kind} of the name ${ref.name}`
  }
  return undefined
}

function userOf({ jti, sub, 'kubernetes.io': { namespace, serviceaccount, pod, node } }: TokenClaims): User {
  const prefix = 'authentication.kubernetes.io/'
  return authenticated({
    username: sub,
    uid: serviceaccount.uid,
    groups: serviceAccountGroups(namespace),
    extra: {
      [`${prefix}credential-id`]: [`JTI=${jti}`],
      ...(node && { [`${prefix}node-name`]: [node.name], [`${prefix}node-uid`]: [node.uid] }),
      ...(pod && { [`${prefix}pod-name`]: [pod.name], [`${prefix}pod-uid`]: [pod.uid] }),
    },
  })
}
