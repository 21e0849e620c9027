import { isRecord } from '#base'
import {
  type At,
  bool,
  type Check,
  type Fields,
  fields,
  filled,
  into,
  isThere,
  list,
  present,
  refuse,
  required,
  shown,
  text,
  warn,
} from './check.ts'
import { duration, isHeaderName, url } from './formats.ts'
import { oneTargeting, targeting } from './target-refs.ts'

const header: Check = (value, at) => {
  if (typeof value !== 'string' || !isHeaderName(value))
    refuse(at, `${shown(value)} is not the name of a header`)
}

/** Only public keys belong in it; what it is must be known before anybody's token is judged by it. */
const jwks: Check = (value, at) => {
  const parsed = typeof value === 'string' ? parsedJson(value) : undefined
  const keys: unknown = isRecord(parsed) ? parsed['keys'] : undefined
  if (!Array.isArray(keys) || keys.length === 0) return refuse(at, 'is not a JSON Web Key Set: {"keys": […]}')
  for (const [n, key] of keys.entries()) {
    const there = into(into(at, 'keys'), n)
    if (!isRecord(key) || typeof key['kty'] !== 'string') refuse(there, 'is not a key; kty is missing')
    else if (present(key, ['d', 'k', 'p', 'q']).length > 0)
      refuse(there, 'is a private or symmetric key; whoever reads this object could sign with it')
  }
}

function parsedJson(value: string): unknown {
  try {
    return JSON.parse(value)
  } catch {
    return undefined
  }
}

const rule = fields(
  {
    issuer: filled,
    audiences: list(filled),
    jwksUri: url('http', 'https'),
    jwks,
    jwks_uri: text,
    fromHeaders: list(fields({ name: header, prefix: text }, (value, at) => required(value, at, 'name'))),
    fromParams: list(filled),
    fromCookies: list(filled),
    outputPayloadToHeader: header,
    forwardOriginalToken: bool,
    outputClaimToHeaders: list(
      fields({ header, claim: filled }, (value, at) => required(value, at, 'header', 'claim')),
    ),
    timeout: duration(),
    spaceDelimitedClaims: list(filled, { most: 64 }),
  },
  (value: Fields, at: At) => {
    required(value, at, 'issuer')
    if (isThere(value['jwks']) && value['jwks'] !== '' && isThere(value['jwksUri']))
      warn(into(at, 'jwksUri'), 'is not asked where jwks is given')
    const uri = value['jwksUri']
    if (typeof uri === 'string' && uri.startsWith('http:'))
      warn(into(at, 'jwksUri'), 'is not https: whoever is on the way can hand out keys')
  },
)

export const requestAuthentication: Check = fields({ ...targeting, jwtRules: list(rule) }, oneTargeting)
