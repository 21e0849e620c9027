import type { ServerResponse } from 'node:http'
import { jsonOf } from '../store/index.ts'
import { type IncludeObject, metadataOf, tableOf } from '../table/index.ts'
import { apiVersionOf } from '../types/index.ts'
import { plainLine, serveWatch, type WatchEvent, type WatchStart } from '../watch/index.ts'
import type { Accepted } from './accept.ts'
import type { Api, ApiRequest, Target } from './api.ts'
import { askedVersion, selectorOf } from './read.ts'
import { badRequest, expired, invalid, isRefusal, type Refusal } from './refusal.ts'
import { served } from './write.ts'

const minTimeoutMs = 30 * 60_000
const maxTimeoutMs = 24 * 3_600_000

type Form = Extract<Accepted, { kind: 'accepted' }>

/** Starts a watch on `response`, or says why not. */
export function handleWatch(
  api: Api,
  request: ApiRequest,
  target: Target,
  form: Form,
  response: ServerResponse,
  signal: AbortSignal,
): Refusal | undefined {
  const { query } = request
  const selects = selectorOf(query, target)
  if (isRefusal(selects)) return selects
  const start = startOf(api, query)
  if (isRefusal(start)) return start
  const timeoutMs = timeoutOf(query, api.random)
  if (typeof timeoutMs !== 'number') return timeoutMs
  const outcome = serveWatch(
    api.store,
    { resource: target.resource, namespace: target.namespace, selects, start },
    response,
    {
      bookmarks: query.get('allowWatchBookmarks') === 'true',
      timeoutMs,
      encode: encoder(api, target, form, includeOf(query)),
      signal,
    },
  )
  if (outcome === 'expired') {
    // Kubernetes answers 200 and says so in the stream; every client knows that form (cacher.go Watch).
    const version = query.get('resourceVersion') ?? ''
    const refusal = expired(`too old resource version: ${version} (${api.store.version})`)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(plainLine('ERROR', JSON.stringify(refusal)))
  }
  return undefined
}

/** Where the watch begins, by resourceVersion, resourceVersionMatch and sendInitialEvents. */
function startOf(api: Api, query: URLSearchParams): WatchStart | Refusal {
  const asked = askedVersion(api, query)
  if (isRefusal(asked)) return asked
  const initial = query.get('sendInitialEvents')
  const match = query.get('resourceVersionMatch') ?? ''
  const fault = (field: string, message: string) =>
    invalid({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', [
      { reason: 'FieldValueForbidden', field, message },
    ])
  if (initial === null) {
    if (match !== '')
      return fault(
        'resourceVersionMatch',
        'Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
      )
    return asked === undefined ? { kind: 'state', bookmark: false } : { kind: 'after', version: asked }
  }
  if (match !== 'NotOlderThan')
    return fault(
      'resourceVersionMatch',
      'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
    )
  if (initial === 'true' && query.get('allowWatchBookmarks') !== 'true')
    return fault(
      'allowWatchBookmarks',
      'Forbidden: sendInitialEvents requires setting allowWatchBookmarks to true',
    )
  if (initial === 'true') return { kind: 'state', bookmark: true }
  return asked === undefined ? { kind: 'now' } : { kind: 'after', version: asked }
}

function timeoutOf(query: URLSearchParams, random: () => number): number | Refusal {
  const text = query.get('timeoutSeconds') ?? '0'
  const seconds = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(seconds))
    return badRequest('timeoutSeconds must be a number')
  // Without a wish of the client, watches end at different times, so that they do not all come back at once.
  return seconds === 0 ? minTimeoutMs * (1 + random()) : Math.min(seconds * 1000, maxTimeoutMs)
}

const includes: readonly string[] = ['None', 'Metadata', 'Object'] satisfies IncludeObject[]
const isInclude = (text: string): text is IncludeObject => includes.includes(text)

/** `includeObject` of a table request. */
export function includeOf(query: URLSearchParams): IncludeObject {
  const text = query.get('includeObject') ?? 'Metadata'
  return isInclude(text) ? text : 'Metadata'
}

function encoder(
  api: Api,
  { kind }: Target,
  form: Form,
  include: IncludeObject,
): (event: WatchEvent) => string {
  let first = true
  return (event) => {
    if (event.type === 'BOOKMARK') return bookmarkLine(event, kind.kind, apiVersionOf(kind), form)
    const object = served(kind, event.object)
    switch (form.form) {
      case 'object':
        return plainLine(event.type, jsonOf(object))
      case 'metadata':
        return plainLine(event.type, JSON.stringify(metadataOf(object, form.version)))
      case 'table': {
        const { resourceVersion } = object.metadata
        const table = {
          now: api.now(),
          include,
          metadata: { resourceVersion },
          version: form.version,
          columns: first,
        }
        first = false
        return plainLine(event.type, JSON.stringify(tableOf(kind, [object], table)))
      }
    }
  }
}

function bookmarkLine(
  event: Extract<WatchEvent, { type: 'BOOKMARK' }>,
  kind: string,
  apiVersion: string,
  form: Form,
): string {
  const annotations = event.initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}
  const metadata = { resourceVersion: String(event.version), creationTimestamp: null, ...annotations }
  const meta = `meta.k8s.io/${form.version}`
  const object = {
    object: { apiVersion, kind, metadata },
    metadata: { apiVersion: meta, kind: 'PartialObjectMetadata', metadata },
    table: { apiVersion: meta, kind: 'Table', metadata, columnDefinitions: [], rows: [] },
  }[form.form]
  return plainLine('BOOKMARK', JSON.stringify(object))
}
