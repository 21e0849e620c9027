import { isFieldName } from '../header-list.ts'

/** What a codec has to know of a field, beside passing it on. */
type FieldRole =
  | 'plain'
  | 'host'
  | 'content-length'
  | 'transfer-encoding'
  | 'connection'
  | 'upgrade'
  | 'te'
  | 'expect'
  | 'keep-alive'
  /** About the connection; never passed on. */
  | 'hop'

type Known = Readonly<{ name: string; role: FieldRole }>

const special: Readonly<Record<string, FieldRole>> = {
  host: 'host',
  'content-length': 'content-length',
  'transfer-encoding': 'transfer-encoding',
  connection: 'connection',
  upgrade: 'upgrade',
  te: 'te',
  expect: 'expect',
  'keep-alive': 'keep-alive',
  'proxy-connection': 'hop',
  'http2-settings': 'hop',
}

/** Names that most messages carry: each is one string, shared by all messages. */
const common = [
  ...Object.keys(special),
  ...'accept accept-charset accept-encoding accept-language accept-ranges age allow authorization cache-control'.split(
    ' ',
  ),
  ...'content-disposition content-encoding content-language content-location content-range content-type cookie'.split(
    ' ',
  ),
  ...'date dnt etag expires forwarded from grpc-accept-encoding grpc-encoding grpc-message grpc-status'.split(
    ' ',
  ),
  ...'grpc-timeout if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link'.split(
    ' ',
  ),
  ...'location max-forwards origin pragma proxy-authenticate proxy-authorization range referer retry-after'.split(
    ' ',
  ),
  ...'sec-fetch-dest sec-fetch-mode sec-fetch-site sec-websocket-accept sec-websocket-extensions'.split(' '),
  ...'sec-websocket-key sec-websocket-protocol sec-websocket-version server set-cookie'.split(' '),
  ...'strict-transport-security trailer traceparent tracestate upgrade-insecure-requests user-agent vary via'.split(
    ' ',
  ),
  ...'www-authenticate x-b3-parentspanid x-b3-sampled x-b3-spanid x-b3-traceid x-envoy-attempt-count'.split(
    ' ',
  ),
  ...'x-envoy-upstream-service-time x-forwarded-client-cert x-forwarded-for x-forwarded-host'.split(' '),
  ...'x-forwarded-proto x-real-ip x-request-id'.split(' '),
]

/** The lower case of what may stand in a name, by its code; 0 for all else. */
const nameCharacters = new Uint8Array(256)
for (let code = 0; code < 256; code++) {
  const lower = String.fromCharCode(code).toLowerCase()
  if (isFieldName(lower)) nameCharacters[code] = lower.charCodeAt(0)
}

/** The common names by their length and the characters at both ends, so that looking one up makes no string. */
const byShape: Known[][] = Array.from({ length: 256 }, () => [])
const shapeOf = (length: number, first: number, last: number) => (length * 29 + first * 5 + last) & 0xff
for (const name of common) {
  const shape = shapeOf(name.length, name.charCodeAt(0), name.charCodeAt(name.length - 1))
  byShape[shape]?.push({ name, role: special[name] ?? 'plain' })
}

const lowerAt = (text: string, at: number) => nameCharacters[text.charCodeAt(at)] ?? 0

/** True where `text` has the name at `at`, in whatever capitals. */
function isNamed(text: string, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (lowerAt(text, at + i) !== name.charCodeAt(i)) return false
  return true
}

/** The entry of the name in `text[from, to)`, undefined for what is no name. Unknown ones take longer. */
function entryOf(text: string, from: number, to: number): Known | undefined {
  const length = to - from
  for (const entry of byShape[shapeOf(length, lowerAt(text, from), lowerAt(text, to - 1))] ?? []) {
    if (entry.name.length === length && isNamed(text, from, entry.name)) return entry
  }
  const name = text.slice(from, to).toLowerCase()
  return isFieldName(name) ? { name, role: 'plain' } : undefined
}

/** The lines of a head, taken apart. Those whose role is not `plain` are in fields of their own. */
export type FieldLines = {
  /** name, value, name, value … of what is passed on. */
  flat: string[]
  host: string | undefined
  contentLength: string | undefined
  transferEncoding: string | undefined
  /** Values joined by commas, in lower case. */
  connection: string | undefined
  upgrade: string | undefined
  expect: string | undefined
  keepAlive: string | undefined
  trailersWanted: boolean
}

export type Fault = Readonly<{ status: number; reason: string }>
export const fault = (status: number, reason: string): Fault => ({ status, reason })

const space = 0x20
const tab = 0x09
const isBlank = (code: number) => code === space || code === tab

/**
 * Takes apart `text[from, to)`: whole lines, each ended by CR LF, with no other control characters but tabs (head-reader.ts
 * has seen to that).
 */
export function parseFieldLines(
  text: string,
  from: number,
  to: number,
  maxFields: number,
): FieldLines | Fault {
  const lines: FieldLines = {
    flat: [],
    host: undefined,
    contentLength: undefined,
    transferEncoding: undefined,
    connection: undefined,
    upgrade: undefined,
    expect: undefined,
    keepAlive: undefined,
    trailersWanted: false,
  }
  let count = 0
  for (let at = from; at < to; ) {
    const lineEnd = text.indexOf('\r', at)
    if (isBlank(text.charCodeAt(at))) return fault(400, 'folded header line')
    const colon = text.indexOf(':', at)
    if (colon <= at || colon > lineEnd) return fault(400, 'header line without a name')
    const entry = entryOf(text, at, colon)
    if (entry === undefined) return fault(400, 'header name with forbidden characters')
    if (++count > maxFields) return fault(431, 'too many header fields')
    let start = colon + 1
    let end = lineEnd
    while (start < end && isBlank(text.charCodeAt(start))) start++
    while (end > start && isBlank(text.charCodeAt(end - 1))) end--
    const value = text.slice(start, end)
    if (entry.role === 'plain') lines.flat.push(entry.name, value)
    else {
      const wrong = note(lines, entry.role, value)
      if (wrong) return wrong
    }
    at = lineEnd + 2
  }
  return lines
}

const joined = (before: string | undefined, value: string) =>
  before === undefined ? value.toLowerCase() : `${before},${value.toLowerCase()}`

function note(lines: FieldLines, role: FieldRole, value: string): Fault | undefined {
  switch (role) {
    case 'host':
      if (lines.host !== undefined) return fault(400, 'two Host fields')
      lines.host = value
      return undefined
    case 'content-length':
      if (lines.contentLength !== undefined) return fault(400, 'two Content-Length fields')
      lines.contentLength = value
      lines.flat.push('content-length', value)
      return undefined
    case 'transfer-encoding':
      lines.transferEncoding = joined(lines.transferEncoding, value)
      return undefined
    case 'connection':
      lines.connection = joined(lines.connection, value)
      return undefined
    case 'upgrade':
      lines.upgrade = joined(lines.upgrade, value)
      return undefined
    case 'expect':
      lines.expect = joined(lines.expect, value)
      lines.flat.push('expect', value)
      return undefined
    case 'keep-alive':
      lines.keepAlive = joined(lines.keepAlive, value)
      return undefined
    case 'te':
      lines.trailersWanted ||= tokensOf(value.toLowerCase()).includes('trailers')
      return undefined
    case 'plain':
    case 'hop':
      return undefined
  }
}

const none: readonly string[] = []
/** The elements of a comma-separated list. */
export const tokensOf = (list: string | undefined): readonly string[] =>
  list === undefined ? none : list.split(',').map((one) => one.trim())

/** What a Connection field may not take away: fields that others than the next hop rely on (CVE-2024-45410). */
const endToEnd =
  /^(?:x-|content-|sec-|grpc-|access-control-|if-|forwarded$|via$|authorization$|cookie$|set-cookie$|cache-control$|trailer$|expect$|host$|range$|date$|location$|vary$|baggage$|traceparent$|tracestate$|proxy-auth)/

/** Removes the fields that Connection names, but for those that belong to the message. */
export function removeNominated(flat: string[], connection: string | undefined): void {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return
  const names = tokensOf(connection).filter((name) => !endToEnd.test(name))
  let to = 0
  for (let i = 0; i < flat.length; i += 2) {
    if (names.includes(flat[i] ?? '')) continue
    flat[to] = flat[i] ?? ''
    flat[to + 1] = flat[i + 1] ?? ''
    to += 2
  }
  flat.length = to
}
