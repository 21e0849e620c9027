import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { isRecord } from '#base'

/** The one algorithm, never taken from a token's header. */
const algorithm = 'RS256'
/** Our longest token has some 1,200 characters; anything far beyond is not ours. */
const maxTokenChars = 16_384
const shape = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/

/** The key pair of service-account tokens. */
export type SigningKey = Readonly<{ privateKey: KeyObject; publicKey: KeyObject; keyId: string }>
export type Claims = Readonly<Record<string, unknown>>

/** The key ID names the key's content, so that it survives restarts. */
export function signingKey(privateKey: KeyObject): SigningKey {
  const publicKey = createPublicKey(privateKey)
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  return { privateKey, publicKey, keyId: createHash('sha256').update(spki).digest('base64url') }
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Claims → compact JWT. */
export function signJwt(claims: Claims, key: SigningKey): string {
  const head = `${encode({ alg: algorithm, kid: key.keyId })}.${encode(claims)}`
  return `${head}.${sign('sha256', Buffer.from(head), key.privateKey).toString('base64url')}`
}

function parsePart(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The claims of a token that `key` signed; times and audiences are the caller's to judge. */
export function verifyJwt(token: string, key: SigningKey): { claims: Claims } | { reject: string } {
  if (token.length > maxTokenChars) return { reject: 'token is too long' }
  const parts = shape.exec(token)
  if (!parts) return { reject: 'token is not a JWT' }
  const [, head = '', body = '', signature = ''] = parts
  const header = parsePart(head)
  if (header?.['alg'] !== algorithm) return { reject: `token is not signed with ${algorithm}` }
  if ('crit' in header) return { reject: 'token has critical headers that are not understood' }
  if (header['kid'] !== key.keyId) return { reject: 'token is signed with an unknown key' }
  const good = verify(
    'sha256',
    Buffer.from(`${head}.${body}`),
    key.publicKey,
    Buffer.from(signature, 'base64url'),
  )
  if (!good) return { reject: 'invalid signature' }
  const claims = parsePart(body)
  return claims ? { claims } : { reject: 'token has no claims' }
}

/** The document of /openid/v1/jwks. */
export const jwks = (key: SigningKey): object => ({
  keys: [{ use: 'sig', alg: algorithm, kid: key.keyId, ...key.publicKey.export({ format: 'jwk' }) }],
})

/** The document of /.well-known/openid-configuration. */
export const openidConfiguration = (issuer: string, jwksUri: string): object => ({
  issuer,
  jwks_uri: jwksUri,
  response_types_supported: ['id_token'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: [algorithm],
})
