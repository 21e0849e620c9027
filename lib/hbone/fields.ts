import type { Field } from './hpack/decode.ts'

export type Request = Readonly<{ method: string; authority: string; headers: ReadonlyMap<string, string> }>
export type Response = Readonly<{ status: number; headers: ReadonlyMap<string, string> }>
type Malformed = { malformed: string }

/** RFC 9110 token characters without capitals, as HTTP/2 demands. */
const namePattern = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
// No control characters, no blanks at the ends (RFC 9113 §8.2.1).
// oxlint-disable-next-line no-control-regex
const valuePattern = /^(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?$/
/** Fields about the connection have no place in HTTP/2 (RFC 9113 §8.2.2). */
const connectionFields = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
])

type Parsed = { pseudo: Map<string, string>; headers: Map<string, string> }

function parse(fields: readonly Field[], allowed: readonly string[]): Parsed | Malformed {
  const pseudo = new Map<string, string>()
  const headers = new Map<string, string>()
  for (const [name, value] of fields) {
    if (!valuePattern.test(value)) return { malformed: 'value with forbidden characters' }
    if (name.startsWith(':')) {
      if (headers.size > 0) return { malformed: 'pseudo field after a header' }
      if (!allowed.includes(name) || pseudo.has(name))
        return { malformed: 'unknown or repeated pseudo field' }
      pseudo.set(name, value)
      continue
    }
    if (!namePattern.test(name)) return { malformed: 'name with forbidden characters' }
    if (connectionFields.has(name) || (name === 'te' && value !== 'trailers')) {
      return { malformed: 'connection-specific field' }
    }
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before},${value}`)
  }
  return { pseudo, headers }
}

/** A request as RFC 9113 §8.3.1 and §8.5 allow it. Other methods than CONNECT pass: refusing them is an answer. */
export function parseRequest(fields: readonly Field[], ended: boolean): Request | Malformed {
  const parsed = parse(fields, [':method', ':scheme', ':authority', ':path'])
  if ('malformed' in parsed) return parsed
  const { pseudo, headers } = parsed
  const method = pseudo.get(':method')
  const authority = pseudo.get(':authority')
  if (method === undefined || !/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method))
    return { malformed: 'no method' }
  const full = Boolean(pseudo.get(':scheme')) && Boolean(pseudo.get(':path'))
  if (method === 'CONNECT' && (!authority || pseudo.has(':scheme') || pseudo.has(':path'))) {
    return { malformed: 'CONNECT takes exactly an authority' }
  }
  if (method !== 'CONNECT' && !full) return { malformed: 'request without scheme or path' }
  const host = headers.get('host')
  if (host !== undefined && host !== (authority ?? host)) return { malformed: 'two different authorities' }
  // A tunnel has no content (RFC 9110 §9.3.6), and what has ended has none left to come.
  const content = headers.get('content-length')
  if (content !== undefined && content !== '0' && (ended || method === 'CONNECT')) {
    return { malformed: 'content-length without content' }
  }
  return { method, authority: authority ?? '', headers }
}

/** An answer to CONNECT; its content-length, if it has one, means nothing. */
export function parseResponse(fields: readonly Field[], ended: boolean): Response | Malformed {
  const parsed = parse(fields, [':status'])
  if ('malformed' in parsed) return parsed
  const status = parsed.pseudo.get(':status') ?? ''
  if (!/^[1-5]\d\d$/.test(status)) return { malformed: 'no status' }
  if (status === '101') return { malformed: 'HTTP/2 switches no protocols' }
  if (ended && status < '200') return { malformed: 'interim answer that ends its stream' }
  return { status: Number(status), headers: parsed.headers }
}
