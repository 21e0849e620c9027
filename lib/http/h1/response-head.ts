import type { ResponseHead } from '../exchange.ts'
import { HeaderList } from '../header-list.ts'
import { type Fault, fault, parseFieldLines, removeNominated, tokensOf } from './field-lines.ts'
import { type Framing, framingOf, noBody, rawBytes, untilClose } from './framing.ts'
import type { LastFields } from './last-fields.ts'

/** What the request was, as far as the form of its answer depends on it. */
export type Asked = Readonly<{ method: string; upgrade: boolean }>

export type ParsedResponse = Readonly<{
  head: ResponseHead
  framing: Framing
  keepAlive: boolean
  /** How long the server says that it keeps the connection without a request; 0: it has not said. */
  keptMs: number
}>

const zero = 0x30
const space = 0x20
/** Where in `HTTP/1.1 200 OK` the minor version, the status and the rest are. */
const minorAt = 7
const statusAt = 9
const restAt = 12

const digitAt = (text: string, at: number): number => {
  const digit = text.charCodeAt(at) - zero
  return digit >= 0 && digit <= 9 ? digit : Number.NaN
}

/** The status in a status line of HTTP/1.0 or 1.1 that ends at `lineEnd`; NaN for what is none. */
function statusOf(text: string, lineEnd: number): number {
  const minor = digitAt(text, minorAt)
  if (!text.startsWith('HTTP/1.') || !(minor <= 1) || text.charCodeAt(minorAt + 1) !== space)
    return Number.NaN
  const ends = lineEnd === restAt || (lineEnd > restAt && text.charCodeAt(restAt) === space)
  const hundreds = digitAt(text, statusAt)
  const rest = 10 * digitAt(text, statusAt + 1) + digitAt(text, statusAt + 2)
  return ends && hundreds > 0 ? 100 * hundreds + rest : Number.NaN
}

/** What the fields of a response say, whatever its first line and its request are. */
type ResponseFields = Readonly<{
  headers: HeaderList
  /** What they say of the body. */
  framing: Framing | Fault | undefined
  coded: boolean
  close: boolean
  keepAlive: boolean
  keptMs: number
}>

/** `Keep-Alive: timeout=5, max=100` (RFC 2068 §19.7.1), as Node, Apache and others send it. */
const timeoutPattern = /(?:^|[,\s])timeout=(\d{1,6})(?:$|[,\s])/

/** Reads the lines of fields in `text` from `from` on. */
export function responseFieldsOf(text: string, from: number, maxFields: number): ResponseFields | Fault {
  const lines = parseFieldLines(text, from, text.length, maxFields)
  if ('status' in lines) return lines
  removeNominated(lines.flat, lines.connection)
  const options = tokensOf(lines.connection)
  return {
    headers: new HeaderList(lines.flat),
    framing: framingOf(lines),
    coded: lines.transferEncoding !== undefined,
    close: options.includes('close'),
    keepAlive: options.includes('keep-alive'),
    keptMs:
      lines.keepAlive === undefined ? 0 : 1_000 * Number(timeoutPattern.exec(lines.keepAlive)?.[1] ?? 0),
  }
}

/** A response head without its last empty line. */
export function parseResponseHead(
  text: string,
  last: LastFields<ResponseFields>,
  asked: Asked,
): ParsedResponse | Fault {
  const lineEnd = text.indexOf('\r')
  const status = statusOf(text, lineEnd)
  if (Number.isNaN(status)) return fault(502, 'malformed status line')
  const old = text.startsWith('0', minorAt)
  const fields = last.of(text, lineEnd + 2)
  if ('status' in fields) return fields
  if (old && fields.coded) return fault(502, 'Transfer-Encoding in HTTP/1.0')
  const told = fields.framing
  if (told && 'status' in told) return told
  if (status === 101 && !asked.upgrade) return fault(502, 'switches a protocol unasked')

  const tunnel = asked.method === 'CONNECT' && status >= 200 && status < 300
  const raw = status === 101 || tunnel
  const bodyless =
    asked.method === 'HEAD' || status === 204 || status === 304 || (status < 200 && status !== 101)
  const framing = raw ? rawBytes : bodyless ? noBody : (told ?? untilClose)
  const stays = old ? fields.keepAlive : !fields.close
  const headers = fields.headers.copy()
  // It means nothing there, and would be taken for the length of what follows (RFC 9110 §8.6).
  if (raw || status === 204 || status < 200) headers.delete('content-length')
  const keepAlive = stays && framing.kind !== 'close' && !raw
  return { head: { status, headers }, framing, keepAlive, keptMs: fields.keptMs }
}
