import type { IncomingMessage } from 'node:http'
import { parse as parseYaml } from 'yaml'
import { isRecord, messageOf } from '#base'
import { decodeProtobuf } from '../types/index.ts'
import { badRequest, isRefusal, type Refusal, refuse } from './refusal.ts'

/** Kubernetes' own limit of a request body. */
export const maxBodyBytes = 3 * 1024 * 1024

/** Reads the whole body, or refuses it at the limit; what comes after is not read. */
export async function readBody(message: IncomingMessage, signal: AbortSignal): Promise<Buffer | Refusal> {
  const chunks: Buffer[] = []
  let size = 0
  const tooLarge = refuse(
    413,
    'RequestEntityTooLarge',
    `the request body is larger than ${maxBodyBytes} bytes`,
  )
  if (Number(message.headers['content-length'] ?? 0) > maxBodyBytes) return tooLarge
  for await (const chunk of message) {
    signal.throwIfAborted()
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk))
    size += bytes.length
    if (size > maxBodyBytes) return tooLarge
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}

/** Media type without parameters. */
export const mediaType = (header: string | undefined): string =>
  (header ?? 'application/json').split(';', 1)[0]?.trim().toLowerCase() ?? ''

/** An object in any encoding that clients send: JSON, YAML, Kubernetes' protobuf envelope. */
export function decodeObject(
  body: Buffer,
  contentType: string | undefined,
): Record<string, unknown> | Refusal {
  const type = mediaType(contentType)
  switch (type) {
    case 'application/json':
    case '':
      return decodeText(body, parseJson)
    case 'application/yaml':
      return decodeText(body, parseYamlText)
    case 'application/vnd.kubernetes.protobuf': {
      const decoded = decodeProtobuf(body)
      return 'reject' in decoded ? badRequest(decoded.reject) : decoded.object
    }
    default:
      return refuse(
        415,
        'UnsupportedMediaType',
        `the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf`,
      )
  }
}

/** A patch: JSON, or YAML for server-side apply. A JSON patch is a list, so the result may be anything. */
export function decodePatch(body: Buffer, type: string): unknown {
  const parse = type === 'application/apply-patch+yaml' ? parseYamlText : parseJson
  try {
    return parse(body.toString('utf8'))
  } catch (error) {
    return badRequest(`error decoding patch: ${messageOf(error)}`)
  }
}

function decodeText(body: Buffer, parse: (text: string) => unknown): Record<string, unknown> | Refusal {
  if (body.length === 0) return badRequest('the request body is empty')
  try {
    const value = parse(body.toString('utf8'))
    return isRecord(value) ? value : badRequest('the request body is not an object')
  } catch (error) {
    return badRequest(`couldn't decode the request body: ${messageOf(error)}`)
  }
}

const parseJson = (text: string): unknown => JSON.parse(text)
// Aliases are bounded: a small body must not unfold into a huge value.
const parseYamlText = (text: string): unknown =>
  parseYaml(text, { maxAliasCount: 100, schema: 'core', version: '1.2', logLevel: 'error' })

/** A body that may be missing, such as DeleteOptions. */
export function decodeOptional(
  body: Buffer,
  contentType: string | undefined,
): Record<string, unknown> | Refusal {
  if (body.length === 0) return {}
  const decoded = decodeObject(body, contentType)
  return isRefusal(decoded) ? decoded : decoded
}
