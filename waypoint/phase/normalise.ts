import { randomUUID } from 'node:crypto'
import type { Phase } from './call.ts'
import { localReply } from './local-reply.ts'
import { normalPath } from './normal-path.ts'

/** What only a proxy of the mesh may say; a client that says it means to fool somebody (facts: l7.md §3.7). */
const stripped = [
  'x-forwarded-client-cert',
  'x-envoy-internal',
  'x-envoy-peer-metadata',
  'x-envoy-peer-metadata-id',
]

/** The request as it will be judged, matched and sent on: one spelling for one thing. */
export const normalise: Phase = async (call, next) => {
  const { request } = call
  if (request.authority === '') return localReply(call, { status: 400, details: 'missing_host_header' })
  if (request.path !== '*' && request.method !== 'CONNECT') {
    const path = normalPath(request.path)
    if (path === undefined) return localReply(call, { status: 400, details: 'path_normalization_failed' })
    call.request = { ...request, path }
  }
  const { headers } = call.request
  for (const name of stripped) headers.delete(name)
  if (!headers.has('x-request-id')) headers.set('x-request-id', randomUUID())
  if (!headers.has('x-forwarded-proto')) headers.set('x-forwarded-proto', request.scheme)
  return next()
}
