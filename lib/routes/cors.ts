import type { Cors } from './model.ts'
import type { RouteRequest } from './request.ts'
import { textTest } from './text.ts'

type Fields = readonly (readonly [name: string, value: string])[]

/** What CORS makes of a request. */
export type CorsDecision =
  /** Nothing: no origin, or one that is not allowed. */
  | Readonly<{ kind: 'none' }>
  /** The answer to a preflight; the upstream is not asked. */
  | Readonly<{ kind: 'answer'; status: 200; headers: Fields }>
  /** These are set on whatever the upstream answers, in place of its own. */
  | Readonly<{ kind: 'forward'; headers: Fields }>

const none: CorsDecision = { kind: 'none' }

/** Made once per rule. */
export function corsJudge(cors: Cors): (request: RouteRequest) => CorsDecision {
  const tests = cors.allowOrigins.map((origin) => (origin.kind === 'any' ? () => true : textTest(origin)))
  return (request) => {
    const origin = request.headers.joined('origin')
    if (origin === undefined) return none
    const isAllowed = tests.some((test) => test(origin))
    const method = request.headers.joined('access-control-request-method')
    if (request.method === 'OPTIONS' && method !== undefined) {
      if (isAllowed)
        return { kind: 'answer', status: 200, headers: preflightFields(cors, origin, method, request) }
      return cors.unmatchedPreflights === 'answer' ? { kind: 'answer', status: 200, headers: [] } : none
    }
    return isAllowed ? { kind: 'forward', headers: actualFields(cors, origin) } : none
  }
}

/** The origin itself, never `*`: right with credentials too. */
const originFields = ({ allowCredentials }: Cors, origin: string): Fields => [
  ['access-control-allow-origin', origin],
  ...(allowCredentials ? ([['access-control-allow-credentials', 'true']] as const) : []),
]

const listField = (name: string, values: readonly string[]): Fields =>
  values.length === 0 ? [] : [[name, values.join(',')]]

const actualFields = (cors: Cors, origin: string): Fields => [
  ...originFields(cors, origin),
  ...listField('access-control-expose-headers', cors.exposeHeaders),
]

function preflightFields(cors: Cors, origin: string, method: string, request: RouteRequest): Fields {
  const wanted = request.headers.joined('access-control-request-headers')
  const echo = (values: readonly string[], asked: string | undefined) =>
    cors.wildcards === 'echo' && values.includes('*') && asked !== undefined ? [asked] : values
  return [
    ...originFields(cors, origin),
    ...listField('access-control-expose-headers', cors.exposeHeaders),
    ...listField('access-control-allow-methods', echo(cors.allowMethods, method)),
    ...listField('access-control-allow-headers', echo(cors.allowHeaders, wanted)),
    ...listField(
      'access-control-max-age',
      cors.maxAgeSeconds === undefined ? [] : [String(cors.maxAgeSeconds)],
    ),
  ]
}
