import type { ResponseHead } from '../exchange.ts'
import { HeaderList } from '../header-list.ts'
import { type Fault, fault, parseFieldLines, removeNominated, tokensOf } from './field-lines.ts'
import { type Framing, framingOf, noBody, rawBytes, untilClose } from './framing.ts'

/** What the request was, as far as the form of its answer depends on it. */
export type Asked = Readonly<{ method: string; upgrade: boolean }>

export type ParsedResponse = Readonly<{ head: ResponseHead; framing: Framing; keepAlive: boolean }>

const statusPattern = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [^\r\n]*)?$/

/** A response head without its last empty line. */
export function parseResponseHead(text: string, maxFields: number, asked: Asked): ParsedResponse | Fault {
  const lineEnd = text.indexOf('\r\n')
  const [, minor, code] = statusPattern.exec(text.slice(0, lineEnd)) ?? []
  if (code === undefined) return fault(502, 'malformed status line')
  const status = Number(code)
  const lines = parseFieldLines(text, lineEnd + 2, text.length, maxFields)
  if ('status' in lines) return lines
  if (minor === '0' && lines.transferEncoding !== undefined)
    return fault(502, 'Transfer-Encoding in HTTP/1.0')
  const told = framingOf(lines)
  if (told && 'status' in told) return told
  if (status === 101 && !asked.upgrade) return fault(502, 'switches a protocol unasked')

  const tunnel = asked.method === 'CONNECT' && status >= 200 && status < 300
  const raw = status === 101 || tunnel
  const bodyless =
    asked.method === 'HEAD' || status === 204 || status === 304 || (status < 200 && status !== 101)
  const framing = raw ? rawBytes : bodyless ? noBody : (told ?? untilClose)
  const options = tokensOf(lines.connection)
  const stays = minor === '1' ? !options.includes('close') : options.includes('keep-alive')
  removeNominated(lines.flat, lines.connection)
  const headers = new HeaderList(lines.flat)
  // It means nothing there, and would be taken for the length of what follows (RFC 9110 §8.6).
  if (raw || status === 204 || status < 200) headers.delete('content-length')
  return { head: { status, headers }, framing, keepAlive: stays && framing.kind !== 'close' && !raw }
}
