import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import { type Attributes, authorize, forbiddenMessage, impersonation, type User } from '../auth/index.ts'
import { type Api, uidLookup } from './api.ts'
import { badRequest, isRefusal, type Refusal, refuse } from './refusal.ts'
import type { Route } from './route.ts'

const unauthorized = (): Refusal => refuse(401, 'Unauthorized', 'Unauthorized')

/** Who asks: by client certificate, bearer token, or nobody; then whom they stand in for. */
export function identify(api: Api, message: IncomingMessage): User | Refusal {
  const certificate = certificateOf(message)
  if (certificate === 'untrusted') return unauthorized()
  const { authorization } = message.headers
  const credentials = {
    ...(authorization === undefined ? {} : { authorization }),
    ...(certificate === undefined ? {} : { clientCertificate: certificate }),
  }
  const user = api.authenticator.authenticate(credentials, uidLookup(api.store))
  if ('reject' in user) {
    api.log.debug('authentication failed', { reason: user.reject })
    return unauthorized()
  }
  return impersonated(api, user, message)
}

function certificateOf({ socket }: IncomingMessage): Buffer | undefined | 'untrusted' {
  if (!(socket instanceof TLSSocket)) return undefined
  const { raw } = socket.getPeerCertificate()
  // Node gives an empty object, without `raw`, when no certificate came.
  if (!Buffer.isBuffer(raw)) return undefined
  return socket.authorized ? raw : 'untrusted'
}

function impersonated(api: Api, user: User, { headers }: IncomingMessage): User | Refusal {
  const asked = impersonation(headers)
  switch (asked.kind) {
    case 'none':
      return user
    case 'reject':
      return badRequest(asked.reason)
    case 'as': {
      const refusals = asked.needs.map((need) => permit(api, user, need)).filter(isRefusal)
      return refusals[0] ?? asked.user
    }
  }
}

/** 403 unless RBAC allows it. */
export function permit(api: Api, user: User, attributes: Attributes): Refusal | undefined {
  const { allowed } = authorize(user, attributes, api.rbac)
  if (allowed) return undefined
  const message = forbiddenMessage(user, attributes)
  if ('path' in attributes) return refuse(403, 'Forbidden', message, {})
  const { group, resource, name } = attributes
  return refuse(403, 'Forbidden', message, {
    ...(name === undefined ? {} : { name }),
    ...(group === '' ? {} : { group }),
    kind: resource,
  })
}

/** What a request does, in RBAC's words. */
export function attributesOf(route: Route, method: string, path: string, query: URLSearchParams): Attributes {
  if (route.kind !== 'resource') return { verb: method.toLowerCase(), path }
  const { group, plural, subresource, name } = route
  const namespace = route.namespace ?? (group === '' && plural === 'namespaces' ? name : undefined)
  return {
    // A subresource cannot be watched: whoever may only watch must not read one that way.
    verb: verbOf(method, name !== undefined, isWatch(query) && subresource === undefined),
    group,
    resource: plural,
    subresource,
    namespace,
    name: name ?? (method === 'GET' ? selectedName(query) : undefined),
  }
}

/** Who lists or watches one object by its name needs no more than the right to that object, as in Kubernetes. */
const selectedName = (query: URLSearchParams): string | undefined =>
  /^metadata\.name==?([^,=!]+)$/.exec(query.get('fieldSelector') ?? '')?.[1]

export const isWatch = (query: URLSearchParams): boolean => ['true', '1'].includes(query.get('watch') ?? '')

function verbOf(method: string, named: boolean, watch: boolean): string {
  switch (method) {
    case 'GET':
    case 'HEAD':
      return watch ? 'watch' : named ? 'get' : 'list'
    case 'POST':
      return 'create'
    case 'PUT':
      return 'update'
    case 'PATCH':
      return 'patch'
    case 'DELETE':
      return named ? 'delete' : 'deletecollection'
    default:
      return method.toLowerCase()
  }
}
