import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import t from 'tap'
import {
  createAuthenticator,
  type TokenBinding,
  tokenIssuer,
  type UidLookup,
} from '../../../../sandbox/api/auth/index.ts'

const rsa = () =>
  generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString()
const signingKeyPem = rsa()
const start = new Date('2026-11-21T12:00:00Z')
let now = start
const auth = createAuthenticator({ signingKeyPem, now: () => now })
t.beforeEach(() => {
  now = start
})

const account = { namespace: 'shop', name: 'order', uid: 'sa-1' }
const pod: TokenBinding = {
  kind: 'Pod',
  name: 'order-x',
  uid: 'pod-1',
  node: { name: 'node-1', uid: 'node-uid' },
}
const world: Record<string, string> = { 'ServiceAccount/shop/order': 'sa-1', 'Pod/shop/order-x': 'pod-1' }
const lookupIn =
  (objects: Record<string, string>): UidLookup =>
  (kind, namespace, name) =>
    objects[[kind, namespace, name].filter(Boolean).join('/')]
const lookup = lookupIn(world)

function issue(audiences: string[], binding?: TokenBinding, expirationSeconds = 3600): string {
  const issued = auth.issueToken({ audiences, expirationSeconds }, account, binding)
  if ('reject' in issued) throw new Error(issued.reject)
  return issued.token
}
const reasonOf = (token: string, audiences?: string[], at = lookup) => {
  const verdict = auth.reviewToken(token, audiences, at)
  return verdict.kind === 'valid' ? 'valid' : verdict.reason
}
const partsOf = (token: string) => {
  const [head = '', body = '', signature = ''] = token.split('.')
  return { head, body, signature }
}
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const decoded = (text: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(text, 'base64url').toString())

t.test('a token of a pod names the service account, the pod and its node', async (t) => {
  const verdict = auth.reviewToken(issue(['istio-ca'], pod), ['istio-ca'], lookup)
  if (verdict.kind !== 'valid') return t.fail(verdict.reason)
  const { user, audiences } = verdict
  t.same(audiences, ['istio-ca'])
  t.equal(user.username, 'system:serviceaccount:shop:order')
  t.equal(user.uid, 'sa-1')
  t.same(user.groups, ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'])
  t.match(user.extra, {
    'authentication.kubernetes.io/pod-name': ['order-x'],
    'authentication.kubernetes.io/pod-uid': ['pod-1'],
    'authentication.kubernetes.io/node-name': ['node-1'],
    'authentication.kubernetes.io/node-uid': ['node-uid'],
    'authentication.kubernetes.io/credential-id': [/^JTI=[0-9a-f-]{36}$/],
  })
})

t.test('the claims are those that Kubernetes issues', async (t) => {
  const seconds = start.getTime() / 1000
  t.match(decoded(partsOf(issue(['istio-ca'], pod)).body), {
    iss: tokenIssuer,
    sub: 'system:serviceaccount:shop:order',
    aud: ['istio-ca'],
    iat: seconds,
    nbf: seconds,
    exp: seconds + 3600,
    'kubernetes.io': {
      namespace: 'shop',
      serviceaccount: { name: 'order', uid: 'sa-1' },
      pod: { name: 'order-x', uid: 'pod-1' },
      node: { name: 'node-1', uid: 'node-uid' },
    },
  })
})

t.test('a token without requested audience is one for the API server', async (t) => {
  const issued = auth.issueToken({}, account)
  if ('reject' in issued) return t.fail(issued.reject)
  t.equal(issued.expirationTimestamp, '2026-11-21T13:00:00Z')
  t.match(auth.authenticate({ authorization: `Bearer ${issued.token}` }, lookup), {
    username: 'system:serviceaccount:shop:order',
  })
  t.equal(reasonOf(issued.token), 'valid')
})

t.test('audiences: the answer is what both sides named, and nothing in common is a rejection', async (t) => {
  const both = issue(['istio-ca', 'vault'])
  const verdict = auth.reviewToken(both, ['vault', 'other'], lookup)
  t.match(verdict, { kind: 'valid', audiences: ['vault'] })
  t.match(
    reasonOf(both, ['other']),
    /token audiences \[istio-ca vault\] is invalid for the target audiences \[other\]/,
  )
  t.match(reasonOf(both), /is invalid for the target audiences/, 'not good for the API server itself')
  t.match(auth.authenticate({ authorization: `Bearer ${both}` }, lookup), { reject: /target audiences/ })
})

t.test('whoever changes a token breaks it', async (t) => {
  const { head, body, signature } = partsOf(issue(['istio-ca'], pod))
  const claims = decoded(body)
  const forged = encoded({ ...claims, sub: 'system:serviceaccount:kube-system:admin' })
  const hmacHead = encoded({ ...decoded(head), alg: 'HS256' })
  const hmac = createHmac('sha256', 'secret').update(`${hmacHead}.${body}`).digest('base64url')
  const publicKeyAsSecret = createHmac('sha256', JSON.stringify(auth.jwks()))
    .update(`${hmacHead}.${body}`)
    .digest('base64url')
  const otherHead = `${encoded({ alg: 'RS256', kid: decoded(head)['kid'] })}.${body}`
  const otherKey = sign('sha256', Buffer.from(otherHead), rsa()).toString('base64url')
  const flipped = `${signature.slice(0, 40)}${signature[40] === 'A' ? 'B' : 'A'}${signature.slice(41)}`
  const cases: [string, string, RegExp][] = [
    ['other claims', `${head}.${forged}.${signature}`, /invalid signature/],
    ['one character of the signature', `${head}.${body}.${flipped}`, /invalid signature/],
    ['no signature', `${head}.${body}.`, /not a JWT/],
    ['alg none', `${encoded({ alg: 'none' })}.${body}.`, /not a JWT/],
    ['alg none, some signature', `${encoded({ alg: 'none' })}.${body}.${signature}`, /not signed with RS256/],
    ['alg HS256', `${hmacHead}.${body}.${hmac}`, /not signed with RS256/],
    [
      'alg HS256 with the public key as secret',
      `${hmacHead}.${body}.${publicKeyAsSecret}`,
      /not signed with RS256/,
    ],
    [
      'alg RS512',
      `${encoded({ ...decoded(head), alg: 'RS512' })}.${body}.${signature}`,
      /not signed with RS256/,
    ],
    ['another key ID', `${encoded({ alg: 'RS256', kid: 'x' })}.${body}.${signature}`, /unknown key/],
    [
      'critical headers',
      `${encoded({ ...decoded(head), crit: ['b64'] })}.${body}.${signature}`,
      /critical headers/,
    ],
    ['another key under our key ID', `${otherHead}.${otherKey}`, /invalid signature/],
    ['garbage', 'a.b.c', /not signed with RS256/],
    ['nothing', '', /not a JWT/],
    ['a megabyte', 'a'.repeat(1_000_000), /too long/],
    ['null as header', `${encoded(null)}.${body}.${signature}`, /not signed with RS256/],
  ]
  for (const [name, token, reason] of cases) t.match(reasonOf(token, ['istio-ca']), reason, name)
})

t.test('a token of the right key but with other claims than ours is rejected', async (t) => {
  const { head, body } = partsOf(issue(['istio-ca'], pod))
  const claims = decoded(body)
  const resigned = (changes: object) => {
    const text = `${head}.${encoded({ ...claims, ...changes })}`
    return `${text}.${sign('sha256', Buffer.from(text), signingKeyPem).toString('base64url')}`
  }
  t.equal(reasonOf(resigned({}), ['istio-ca']), 'valid')
  const cases: [string, object][] = [
    ['another issuer', { iss: 'https://elsewhere' }],
    ['audience as a string', { aud: 'istio-ca' }],
    ['no expiry', { exp: undefined }],
    ['a subject that is not the service account', { sub: 'system:serviceaccount:shop:payment' }],
    ['no private claims', { 'kubernetes.io': undefined }],
  ]
  for (const [name, changes] of cases)
    t.equal(reasonOf(resigned(changes), ['istio-ca']), 'token is not one of a service account', name)
})

t.test('a token counts from nbf to exp', async (t) => {
  const token = issue(['istio-ca'], pod, 600)
  now = new Date(start.getTime() + 599_000)
  t.equal(reasonOf(token, ['istio-ca']), 'valid')
  now = new Date(start.getTime() + 600_000)
  t.equal(reasonOf(token, ['istio-ca']), 'service account token has expired')
  now = new Date(start.getTime() - 61_000)
  t.equal(reasonOf(token, ['istio-ca']), 'service account token is not valid yet')
})

t.test('a token dies with what it is bound to', async (t) => {
  const token = issue(['istio-ca'], pod)
  const { 'Pod/shop/order-x': _pod, ...noPod } = world
  const { 'ServiceAccount/shop/order': _account, ...noAccount } = world
  const cases: [string, Record<string, string>, RegExp][] = [
    ['pod deleted', noPod, /bound to Pod order-x, which does not exist/],
    ['another pod of the same name', { ...world, 'Pod/shop/order-x': 'pod-2' }, /another Pod/],
    ['service account deleted', noAccount, /bound to ServiceAccount order, which does not exist/],
    [
      'service account made anew',
      { ...world, 'ServiceAccount/shop/order': 'sa-2' },
      /another ServiceAccount/,
    ],
  ]
  for (const [name, objects, reason] of cases)
    t.match(reasonOf(token, ['istio-ca'], lookupIn(objects)), reason, name)
})

t.test('a request for less than ten minutes or more than 2^32 seconds is invalid', async (t) => {
  for (const expirationSeconds of [599, 0, -1, Number.NaN, 2 ** 32 + 1])
    t.ok('reject' in auth.issueToken({ expirationSeconds }, account), `${expirationSeconds}`)
})

t.test('only bearer tokens are read from the Authorization header', async (t) => {
  const token = issue([tokenIssuer])
  t.match(auth.authenticate({ authorization: `bearer ${token}` }, lookup), { username: /order$/ })
  for (const authorization of [`Basic ${token}`, token, 'Bearer', '', `Bearer ${token} ${token}`])
    t.match(
      auth.authenticate({ authorization }, lookup),
      { reject: /not a bearer token/ },
      authorization.slice(0, 12),
    )
  t.match(auth.authenticate({}, lookup), { username: 'system:anonymous', groups: ['system:unauthenticated'] })
})

t.test('JWKS holds the public key only', async (t) => {
  const { keys } = JSON.parse(JSON.stringify(auth.jwks()))
  t.equal(keys.length, 1)
  t.same(Object.keys(keys[0]).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'])
  t.equal(keys[0].kid, decoded(partsOf(issue([])).head)['kid'])
  t.match(auth.openidConfiguration(), { issuer: tokenIssuer, jwks_uri: `${tokenIssuer}/openid/v1/jwks` })
})
