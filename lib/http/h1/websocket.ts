import { createHash, randomBytes } from 'node:crypto'
import type { RequestHead, ResponseHead } from '../exchange.ts'

const keyField = 'sec-websocket-key'
const acceptField = 'sec-websocket-accept'
/** RFC 6455 §1.3. */
const acceptSuffix = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** HTTP/2 has no keys (RFC 8441 §5): a client of ours that goes on over HTTP/1.1 needs one. */
export function withKey(request: RequestHead): RequestHead {
  if (request.upgrade !== 'websocket' || request.headers.has(keyField)) return request
  const headers = request.headers.copy()
  headers.set(keyField, randomBytes(16).toString('base64'))
  return { ...request, headers }
}

/** What a client's key has to be answered with, where the upstream spoke HTTP/2 and did not. */
export function withAccept(request: RequestHead, answer: ResponseHead): ResponseHead {
  const key = request.headers.get(keyField)
  if (request.upgrade !== 'websocket' || key === undefined || answer.headers.has(acceptField)) return answer
  const headers = answer.headers.copy()
  headers.set(
    acceptField,
    createHash('sha1')
      .update(key + acceptSuffix)
      .digest('base64'),
  )
  return { ...answer, headers }
}
