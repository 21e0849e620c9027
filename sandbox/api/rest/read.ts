import { createHash } from 'node:crypto'
import { isRecord } from '#base'
import { parseFieldSelector, parseLabelSelector, type Selector, sortKeyOf } from '../store/index.ts'
import { apiVersionOf } from '../types/index.ts'
import { type Answer, type Api, type ApiRequest, type Target } from './api.ts'
import type { KubeObject } from './object.ts'
import { badRequest, expired, invalid, isRefusal, type Refusal, refuse } from './refusal.ts'
import { find, served } from './write.ts'

/** GET of one object. */
export function handleGet(api: Api, request: ApiRequest, target: Target): Answer {
  const asked = askedVersion(api, request.query)
  if (isRefusal(asked)) return asked
  const found = find(api, target)
  return isRefusal(found) ? found : { code: 200, body: served(target.kind, found) }
}

/** The selection of a request: label and field selector, and the name in the path, all of which must match. */
export function selectorOf(query: URLSearchParams, { kind, resource, name }: Target): Selector | Refusal {
  const labels = parseLabelSelector(query.get('labelSelector') ?? '')
  if (labels.kind === 'reject') return badRequest(labels.reason)
  const fields = parseFieldSelector(query.get('fieldSelector') ?? '', resource, kind.selectableFields)
  if (fields.kind === 'reject') return badRequest(fields.reason)
  return (object) =>
    (name === undefined || object.metadata.name === name) && labels.matches(object) && fields.matches(object)
}

/** The version that a read asks for: undefined for "whatever is there". */
export function askedVersion(api: Api, query: URLSearchParams): number | undefined | Refusal {
  const text = query.get('resourceVersion') ?? ''
  if (text === '' || text === '0') return undefined
  const version = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(version))
    return badRequest(`Invalid value: ${JSON.stringify(text)}: resourceVersion must be a number`)
  const current = api.store.version
  if (version <= current) return version
  return refuse(504, 'Timeout', `Too large resource version: ${version}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  })
}

/** GET of a collection: everything at once, or in pages by `limit` and `continue`. */
export function handleList(api: Api, request: ApiRequest, target: Target): Answer {
  const { query } = request
  const asked = askedVersion(api, query)
  if (isRefusal(asked)) return asked
  const match = query.get('resourceVersionMatch') ?? ''
  const unfit = matchFault(target, match, query)
  if (unfit !== undefined) return unfit
  if (match === 'Exact' && asked !== undefined && asked !== api.store.version)
    return expired('The provided resource version is no longer kept: only the newest state can be listed.')
  const selector = selectorOf(query, target)
  if (isRefusal(selector)) return selector
  const page = pageOf(api, query, target)
  if (isRefusal(page)) return page
  const rest = api.store
    .list(target.resource, target.namespace)
    .filter((o) => sortKeyOf(o) > page.after && selector(o))
  const items = page.limit === undefined ? rest : rest.slice(0, page.limit)
  const more = rest.length - items.length
  const last = items.at(-1)
  const following =
    more > 0 && last !== undefined
      ? {
          continue: writeToken({ version: page.version, after: sortKeyOf(last), of: page.of }),
          remainingItemCount: more,
        }
      : {}
  return { code: 200, body: listOf(target, items, { resourceVersion: String(page.version), ...following }) }
}

/** A list of a kind. */
const listOf = ({ kind }: Target, items: readonly KubeObject[], metadata: Record<string, unknown>) => ({
  apiVersion: apiVersionOf(kind),
  kind: kind.listKind,
  metadata,
  items: items.map((object) => served(kind, object)),
})

function matchFault({ kind }: Target, match: string, query: URLSearchParams): Refusal | undefined {
  if (match === '') return undefined
  const version = query.get('resourceVersion') ?? ''
  const fault = (message: string) =>
    invalid({ group: kind.group, kind: 'ListOptions' }, '', [
      { reason: 'FieldValueForbidden', field: 'resourceVersionMatch', message },
    ])
  if (!['Exact', 'NotOlderThan'].includes(match))
    return fault(`Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan"`)
  if (version === '')
    return fault('Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided')
  if (match === 'Exact' && version === '0')
    return fault('Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
  return undefined
}

type Token = Readonly<{ version: number; after: string; of: string }>
type Page = Token & Readonly<{ limit: number | undefined }>

function pageOf(api: Api, query: URLSearchParams, target: Target): Page | Refusal {
  const limit = Number(query.get('limit') ?? '0')
  if (!Number.isSafeInteger(limit) || limit < 0) return badRequest('limit must be a non-negative number')
  const bound = limit === 0 ? undefined : limit
  const of = fingerprint(query, target)
  const text = query.get('continue') ?? ''
  if (text === '') return { version: api.store.version, after: '', of, limit: bound }
  const token = readToken(text)
  if (token === undefined || token.of !== of) return badRequest('continue key is not valid')
  // Later pages show the present; the version of the first page lets a watch replay what changed meanwhile.
  if (api.store.since(target.resource, token.version) === 'expired')
    return expired(
      'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.',
    )
  return { ...token, limit: bound }
}

/** A token continues the very list that it came from. */
const fingerprint = (query: URLSearchParams, target: Target): string =>
  createHash('sha256')
    .update(
      [target.resource, target.namespace, query.get('labelSelector'), query.get('fieldSelector')].join('\0'),
    )
    .digest('base64url')
    .slice(0, 12)

const writeToken = (token: Token): string => Buffer.from(JSON.stringify(token)).toString('base64url')

function readToken(text: string): Token | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    if (!isRecord(value)) return undefined
    const { version, after, of } = value
    if (typeof version !== 'number' || typeof after !== 'string' || typeof of !== 'string') return undefined
    return { version, after, of }
  } catch {
    return undefined // not one of ours
  }
}
