import type { RequestHead } from '../exchange.ts'
import { HeaderList } from '../header-list.ts'
import { type Fault, fault, parseFieldLines, removeNominated, tokensOf } from './field-lines.ts'
import { type Framing, framingOf, noBody } from './framing.ts'
import type { LastFields } from './last-fields.ts'

export type ParsedRequest = Readonly<{
  head: RequestHead
  framing: Framing
  /** The connection may carry another request after this one. */
  keepAlive: boolean
}>

/** In the order of how often they come. */
const methods = ['GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'CONNECT', 'TRACE']
const methodPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}$/
/** Printable ASCII but for `#`: a fragment is never sent, and readers differ in what they make of one (CVE-2021-39156). */
const targetPattern = /^[\x21\x22\x24-\x7e]+$/
/** A name or an IP literal, with or without a port (RFC 3986 §3.2); no user information. */
const authorityPattern = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]+)(?::\d{0,5})?$/
const withPort = /:\d{1,5}$/
const absolutePattern = /^(https?):\/\/([^/?]*)([^]*)$/i

type Target = Readonly<{ scheme: string; authority: string; path: string }>

/** True for what may stand in Host and in `:authority`. */
export const isAuthority = (text: string): boolean => authorityPattern.test(text)
/** True for what may stand in a request line as path and query. */
export const isPath = (text: string): boolean =>
  text === '*' || (text.startsWith('/') && targetPattern.test(text))
export const isMethod = (text: string): boolean => methods.includes(text) || methodPattern.test(text)

/** The method in `text[0, end)`: a common one is always the same string. */
function methodAt(text: string, end: number): string | undefined {
  for (const method of methods) if (method.length === end && text.startsWith(method)) return method
  const method = text.slice(0, end)
  return methodPattern.test(method) ? method : undefined
}

/** The four forms of a target (RFC 9112 §3.2). */
function targetOf(method: string, target: string, host: string, scheme: string): Target | Fault {
  if (!targetPattern.test(target)) return fault(400, 'target with forbidden characters')
  if (method === 'CONNECT') {
    if (!authorityPattern.test(target) || !withPort.test(target)) return fault(400, 'CONNECT without a port')
    return { scheme, authority: target, path: '' }
  }
  if (target.startsWith('/')) return { scheme, authority: host, path: target }
  if (target === '*' && method === 'OPTIONS') return { scheme, authority: host, path: '*' }
  const [, named, authority = '', rest = ''] = absolutePattern.exec(target) ?? []
  if (named === undefined) return fault(400, 'target of no known form')
  if (!authorityPattern.test(authority)) return fault(400, 'target without a host')
  // Host should say the same; a client that says two things means one of them to slip past somebody.
  if (authority.toLowerCase() !== host.toLowerCase()) return fault(400, 'target and Host differ')
  const path = rest === '' ? (method === 'OPTIONS' ? '*' : '/') : rest.startsWith('?') ? `/${rest}` : rest
  return { scheme: named.toLowerCase(), authority, path }
}

/** What the fields of a request say, whatever its first line is. */
type RequestFields = Readonly<{
  headers: HeaderList
  host: string
  framing: Framing | Fault
  keepAlive: boolean
  upgrade: string | undefined
  /** Nothing is expected of us but a 100. */
  expectationKnown: boolean
}>

/** Reads the lines of fields in `text` from `from` on. */
export function requestFieldsOf(text: string, from: number, maxFields: number): RequestFields | Fault {
  const lines = parseFieldLines(text, from, text.length, maxFields)
  if ('status' in lines) return lines
  const { host, connection, expect } = lines
  if (host === undefined || host === '') return fault(400, 'no Host')
  if (!authorityPattern.test(host)) return fault(400, 'malformed Host')
  const framing = framingOf(lines) ?? noBody
  removeNominated(lines.flat, connection)
  if (lines.trailersWanted) lines.flat.push('te', 'trailers')
  const options = tokensOf(connection)
  return {
    headers: new HeaderList(lines.flat),
    host,
    framing,
    keepAlive: !options.includes('close'),
    upgrade: framing === noBody && options.includes('upgrade') ? upgradeOf(lines.upgrade) : undefined,
    expectationKnown: expect === undefined || expect === '100-continue',
  }
}

/** From the blank before the version to the end of the line. */
const withVersion = ' HTTP/1.1'.length

/** A request head without its last empty line. `scheme` is what the connection is. */
export function parseRequestHead(
  text: string,
  last: LastFields<RequestFields>,
  scheme: string,
): ParsedRequest | Fault {
  const lineEnd = text.indexOf('\r')
  const methodEnd = text.indexOf(' ')
  const targetEnd = text.indexOf(' ', methodEnd + 1)
  if (methodEnd <= 0 || targetEnd < 0 || targetEnd > lineEnd) return fault(400, 'malformed request line')
  const method = methodAt(text, methodEnd)
  if (method === undefined) return fault(400, 'malformed method')
  const known = lineEnd - targetEnd === withVersion && text.startsWith('HTTP/1.', targetEnd + 1)
  if (known && text.startsWith('0', lineEnd - 1)) return fault(426, 'HTTP/1.0')
  if (!known || !text.startsWith('1', lineEnd - 1)) return fault(400, 'unknown version')

  const fields = last.of(text, lineEnd + 2)
  if ('status' in fields) return fields
  const target = targetOf(method, text.slice(methodEnd + 1, targetEnd), fields.host, scheme)
  if ('status' in target) return target
  const { framing, keepAlive, upgrade } = fields
  if ('status' in framing) return framing
  if (method === 'CONNECT' && framing !== noBody) return fault(400, 'CONNECT with content')
  if (!fields.expectationKnown) return fault(417, 'unknown expectation')

  const { authority, path } = target
  const headers = fields.headers.copy()
  const head =
    upgrade === undefined
      ? { method, scheme: target.scheme, authority, path, headers }
      : { method, scheme: target.scheme, authority, path, headers, upgrade }
  return { head, framing, keepAlive }
}

/** One protocol, and not HTTP/2: whoever speaks that begins with it. A list of several is not for a proxy to choose from. */
const upgradeOf = (upgrade: string | undefined): string | undefined =>
  upgrade === undefined || upgrade === '' || upgrade.includes(',') || upgrade === 'h2c' ? undefined : upgrade
