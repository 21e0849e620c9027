import { randomUUID } from 'node:crypto'
import type { HeaderList } from '#http'
import type { Phase } from './call.ts'
import { localReply } from './local-reply.ts'
import { normalPath } from './normal-path.ts'

/** What only a proxy of the mesh may say; a client that says it means to fool somebody (facts: l7.md §3.7, security.md AZ-7). */
const stripped: ReadonlySet<string> = new Set([
  'x-forwarded-client-cert',
  'x-envoy-attempt-count',
  'x-envoy-decorator-operation',
  'x-envoy-expected-rq-timeout-ms',
  'x-envoy-internal',
  'x-envoy-is-timeout-retry',
  'x-envoy-original-dst-host',
  'x-envoy-original-host',
  'x-envoy-original-path',
  'x-envoy-peer-metadata',
  'x-envoy-peer-metadata-id',
])
/** They say how long a message is and whom it is for; many applications read `_` in a name as `-`. */
const framing: ReadonlySet<string> = new Set(['connection', 'content-length', 'host', 'transfer-encoding'])

function isForged(name: string): boolean {
  if (name.startsWith('x-') && (stripped.has(name) || name.startsWith('x-istio-'))) return true
  if (!name.includes('_')) return false
  const read = name.replaceAll('_', '-')
  return stripped.has(read) || framing.has(read) || read.startsWith('x-istio-')
}

const nothing: readonly string[] = []

function forgedIn({ flat }: HeaderList): readonly string[] {
  let forged: string[] | undefined
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] ?? ''
    if (isForged(name)) (forged ??= []).push(name)
  }
  return forged ?? nothing
}

/** The request as it will be judged, matched and sent on: one spelling for one thing. */
export const normalise: Phase = (call, next) => {
  const { request } = call
  const { headers } = request
  for (const name of forgedIn(headers)) headers.delete(name)
  if (!headers.has('x-request-id')) headers.set('x-request-id', randomUUID())
  if (request.authority === '') return localReply(call, { status: 400, details: 'missing_host_header' })
  // As in Envoy no route is for CONNECT: what an application takes for an answer would open a way past routes and policies.
  if (request.method === 'CONNECT')
    return localReply(call, { status: 404, flag: 'NR', details: 'route_not_found' })
  if (request.upgrade !== undefined && request.upgrade !== 'websocket')
    return localReply(call, { status: 403, details: 'upgrade_failed' })
  // No route is for the server as a whole either (Envoy).
  if (request.path === '*') return localReply(call, { status: 404, details: 'absolute_path_rejected' })
  const path = normalPath(request.path, call.plan?.routes.paths)
  if (path === undefined) return localReply(call, { status: 400, details: 'path_normalization_failed' })
  call.request = { ...request, path }
  if (!headers.has('x-forwarded-proto')) headers.set('x-forwarded-proto', request.scheme)
  return next(call)
}
