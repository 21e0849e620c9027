import type { Field } from './hpack/decode.ts'

/** The fields of one header block: pseudo fields by name, the others as name, value, name, value … in their order. */
export type Message = {
  method: string | undefined
  scheme: string | undefined
  authority: string | undefined
  path: string | undefined
  /** Of an extended CONNECT (RFC 8441). */
  protocol: string | undefined
  status: string | undefined
  flat: string[]
  /** Nothing follows it on its stream. */
  ended: boolean
}
export type Malformed = { malformed: string }

/** What a connection is for, as far as messages differ by it. Each verdict is why a message is malformed, if it is. */
export type Dialect = Readonly<{
  request(message: Message): string | undefined
  response(message: Message): string | undefined
  /** Whether trailers and interim answers mean anything, and CONNECT may name a protocol. */
  general: boolean
}>

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

export type MessageKind = 'request' | 'response' | 'trailers'
type PseudoName = 'method' | 'scheme' | 'authority' | 'path' | 'protocol' | 'status'

const pseudoNames: Readonly<Record<MessageKind, ReadonlyMap<string, PseudoName>>> = {
  request: new Map([
    [':method', 'method'],
    [':scheme', 'scheme'],
    [':authority', 'authority'],
    [':path', 'path'],
    [':protocol', 'protocol'],
  ]),
  response: new Map([[':status', 'status']]),
  trailers: new Map(),
}

/** Takes a header block apart by what holds for every message (RFC 9113 §8.2, §8.3); `general` is the dialect's. */
export function parseMessage(
  fields: readonly Field[],
  kind: MessageKind,
  ended: boolean,
  general = false,
): Message | Malformed {
  const message = emptyMessage(ended)
  const { flat } = message
  for (const [name, given] of fields) {
    const value = valuePattern.test(given) ? given : general ? withBlanks(name, given, kind) : undefined
    if (value === undefined) return { malformed: 'value with forbidden characters' }
    if (name.startsWith(':')) {
      if (flat.length > 0) return { malformed: 'pseudo field after a header' }
      const pseudo = pseudoNames[kind].get(name)
      if (pseudo === undefined || message[pseudo] !== undefined)
        return { malformed: 'unknown or repeated pseudo field' }
      message[pseudo] = value
      continue
    }
    if (!namePattern.test(name)) return { malformed: 'name with forbidden characters' }
    if (connectionFields.has(name) || (name === 'te' && value !== 'trailers')) {
      return { malformed: 'connection-specific field' }
    }
    flat.push(name, value)
  }
  return message
}

/**
 * A value that is sound but for blanks at its ends. RFC 9113 forbids them, yet servers of gRPC end messages with them, and
 * Envoy passes them on: an answer keeps them. A request loses them: what is judged is what any reader would see.
 */
function withBlanks(name: string, value: string, kind: MessageKind): string | undefined {
  let from = 0
  let to = value.length
  while (from < to && isBlank(value.charCodeAt(from))) from++
  while (to > from && isBlank(value.charCodeAt(to - 1))) to--
  const cut = value.slice(from, to)
  if (name.startsWith(':') || !valuePattern.test(cut)) return undefined
  return kind === 'request' ? cut : value
}

const isBlank = (code: number) => code === 0x20 || code === 0x09

const emptyMessage = (ended: boolean): Message => ({
  method: undefined,
  scheme: undefined,
  authority: undefined,
  path: undefined,
  protocol: undefined,
  status: undefined,
  flat: [],
  ended,
})

/** The headers by name; several lines of one name are joined by commas. */
export function headersOf({ flat }: Message): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] ?? ''
    const before = headers.get(name)
    headers.set(name, before === undefined ? (flat[i + 1] ?? '') : `${before},${flat[i + 1]}`)
  }
  return headers
}

const methodPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/**
 * A connection of tunnels: requests as RFC 9113 §8.3.1 and §8.5 allow them. Other methods than CONNECT pass: refusing
 * them is an answer.
 */
export const tunnelDialect: Dialect = {
  request(message) {
    const { method, authority, scheme, path, ended } = message
    if (method === undefined || !methodPattern.test(method)) return 'no method'
    if (message.protocol !== undefined) return 'unknown or repeated pseudo field'
    if (method === 'CONNECT' && (!authority || scheme !== undefined || path !== undefined)) {
      return 'CONNECT takes exactly an authority'
    }
    if (method !== 'CONNECT' && !(scheme && path)) return 'request without scheme or path'
    const headers = headersOf(message)
    const host = headers.get('host')
    if (host !== undefined && host !== (authority ?? host)) return 'two different authorities'
    // A tunnel has no content (RFC 9110 §9.3.6), and what has ended has none left to come.
    const content = headers.get('content-length')
    if (content !== undefined && content !== '0' && (ended || method === 'CONNECT')) {
      return 'content-length without content'
    }
    return undefined
  },
  /** An answer to CONNECT; its content-length, if it has one, means nothing. */
  response({ status = '', ended }) {
    if (!/^[1-5]\d\d$/.test(status)) return 'no status'
    if (status === '101') return 'HTTP/2 switches no protocols'
    if (ended && status < '200') return 'interim answer that ends its stream'
    return undefined
  },
  general: false,
}
