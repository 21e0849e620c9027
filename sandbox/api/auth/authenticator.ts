import { createPrivateKey, X509Certificate } from 'node:crypto'
import { jwks, openidConfiguration, signingKey } from './jwt.ts'
import {
  checkToken,
  defaultAudiences,
  issueToken,
  type IssuedToken,
  type ServiceAccountRef,
  type TokenBinding,
  tokenIssuer,
  type TokenRequestSpec,
  type TokenVerdict,
  type UidLookup,
} from './tokens.ts'
import { anonymous, authenticated, type User } from './user.ts'

/** What of a request can prove who makes it. */
export type Credentials = Readonly<{
  /** The Authorization header. */
  authorization?: string
  /** DER of a client certificate whose chain TLS has verified against the cluster's CA. */
  clientCertificate?: Buffer
}>

/** Says who makes a request; issues and reviews tokens. */
export type Authenticator = Readonly<{
  /** A request without credentials is system:anonymous's; with wrong ones it is rejected (401). */
  authenticate(request: Credentials, lookup: UidLookup): User | { reject: string }
  /** TokenRequest: `spec` → `status`; a reject is 422 Invalid. */
  issueToken(
    spec: TokenRequestSpec,
    account: ServiceAccountRef,
    binding?: TokenBinding,
  ): IssuedToken | { reject: string }
  /** TokenReview: without `audiences` the token must be one for the API server. */
  reviewToken(token: string, audiences: readonly string[] | undefined, lookup: UidLookup): TokenVerdict
  /** Body of GET /openid/v1/jwks. */
  jwks(): object
  /** Body of GET /.well-known/openid-configuration. */
  openidConfiguration(): object
}>

/** The authenticator whose tokens are signed with the given private key (PEM). */
export function createAuthenticator(o: { signingKeyPem: string; now?: () => Date }): Authenticator {
  const key = signingKey(createPrivateKey(o.signingKeyPem))
  const { now = () => new Date() } = o
  return {
    authenticate({ authorization, clientCertificate }, lookup) {
      if (clientCertificate) return certificateUser(clientCertificate)
      if (authorization === undefined) return anonymous
      const token = bearerToken(authorization)
      if (token === undefined) return { reject: 'the Authorization header is not a bearer token' }
      const verdict = checkToken(key, token, defaultAudiences, lookup, now())
      return verdict.kind === 'valid' ? verdict.user : { reject: verdict.reason }
    },
    issueToken: (spec, account, binding) => issueToken(key, spec, account, binding, now()),
    reviewToken: (token, audiences, lookup) =>
      checkToken(key, token, audiences?.length ? audiences : defaultAudiences, lookup, now()),
    jwks: () => jwks(key),
    openidConfiguration: () => openidConfiguration(tokenIssuer, `${tokenIssuer}/openid/v1/jwks`),
  }
}

const bearerToken = (header: string) => /^bearer +([^\s]+)$/i.exec(header.trim())?.[1]

const listOf = (value: string | readonly string[] | undefined): readonly string[] =>
  value === undefined ? [] : typeof value === 'string' ? [value] : value

/** Kubernetes' reading of a client certificate: CN is the user, each O a group. */
function certificateUser(der: Buffer): User | { reject: string } {
  try {
    const certificate = new X509Certificate(der)
    const { CN, O } = certificate.toLegacyObject().subject
    const [username, ...more] = listOf(CN)
    if (!username || more.length > 0)
      return { reject: 'the client certificate needs exactly one common name' }
    const fingerprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase()
    const extra = { 'authentication.kubernetes.io/credential-id': [`X509SHA256=${fingerprint}`] }
    return authenticated({ username, groups: listOf(O), extra })
  } catch {
    return { reject: 'the client certificate cannot be read' }
  }
}
