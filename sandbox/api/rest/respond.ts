import type { ServerResponse } from 'node:http'
import { stringify } from 'yaml'
import { isRecord } from '#base'
import { metadataOf, tableOf } from '../table/index.ts'
import type { Accepted, Form } from './accept.ts'
import type { Answer, Api, ApiRequest, Target } from './api.ts'
import { asObject, type KubeObject, listAt, recordAt } from './object.ts'
import { isRefusal, type Refusal } from './refusal.ts'
import { includeOf } from './watch-request.ts'

type Accept = Extract<Accepted, { kind: 'accepted' }>
const asItIs: Accept = { kind: 'accepted', form: 'object', version: 'v1', encoding: 'json' }

/** A warning longer than this is cut: all of them travel in headers. */
const maxWarningLength = 256
const maxWarnings = 16

/** Writes an answer and ends the response. */
export function respond(response: ServerResponse, answer: Answer, accept: Accept = asItIs): void {
  if (response.headersSent || response.destroyed) return void response.destroy()
  const { code, body, warnings = [], contentType } = isRefusal(answer) ? refusalReply(answer) : answer
  const text =
    typeof body === 'string' ? body : accept.encoding === 'yaml' ? stringify(body) : JSON.stringify(body)
  const bytes = Buffer.from(text)
  const retry = isRefusal(answer) ? answer.details?.retryAfterSeconds : undefined
  const lines = [...new Set(warnings)].slice(0, maxWarnings).map(warningLine)
  if (retry !== undefined) response.setHeader('retry-after', retry)
  if (lines.length > 0) response.setHeader('warning', lines)
  response.writeHead(code, {
    'content-type': contentType ?? (accept.encoding === 'yaml' ? 'application/yaml' : 'application/json'),
    'content-length': bytes.length,
    'cache-control': 'no-cache, private',
  })
  response.end(bytes)
}

const refusalReply = (
  refusal: Refusal,
): { code: number; body: unknown; warnings?: string[]; contentType?: string } => ({
  code: refusal.code,
  body: refusal,
})

/** RFC 7234: code, agent, quoted text. Header text must be plain ASCII on one line. */
function warningLine(text: string): string {
  const plain = text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, maxWarningLength)
  return `299 - "${plain.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/** The answer in the form that the client asked for. */
export function transform(
  api: Api,
  request: ApiRequest,
  { kind }: Target,
  answer: Answer,
  accept: Accept,
): Answer {
  if (isRefusal(answer) || accept.form === 'object' || kind.virtual || !isRecord(answer.body)) return answer
  const { body } = answer
  if (body['kind'] === 'Status' || body['kind'] === 'Scale') return answer
  const isList = Array.isArray(body['items']) && body['kind'] === kind.listKind
  const objects = isList ? listAt(body, 'items').map(asObject) : [asObject(body)]
  return { ...answer, body: transformed[accept.form](objects, { api, request, kind, accept, body, isList }) }
}

type Context = Readonly<{
  api: Api
  request: ApiRequest
  kind: Target['kind']
  accept: Accept
  body: Record<string, unknown>
  isList: boolean
}>

const transformed: Readonly<
  Record<Exclude<Form, 'object'>, (objects: readonly KubeObject[], c: Context) => unknown>
> = {
  table: (objects, { api, request, kind, accept, body, isList }) => {
    const { resourceVersion } = objects[0]?.metadata ?? {}
    const metadata = isList ? recordAt(body, 'metadata') : { resourceVersion }
    return tableOf(kind, objects, {
      now: api.now(),
      include: includeOf(request.query),
      metadata,
      version: accept.version,
    })
  },
  metadata: (objects, { accept, body, isList }) => {
    const items = objects.map((object) => metadataOf(object, accept.version))
    if (!isList) return items[0]
    const apiVersion = `meta.k8s.io/${accept.version}`
    return { apiVersion, kind: 'PartialObjectMetadataList', metadata: body['metadata'], items }
  },
}
