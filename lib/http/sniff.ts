export type Sniffed = 'http1' | 'http2' | 'tls' | 'other' | 'more'

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
/** Methods that begin an HTTP/1 connection (RFC 9110 §9, RFC 5789, and WebDAV's as Envoy's inspector knows them). */
const methods = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
  'PROPFIND',
  'PROPPATCH',
  'MKCOL',
  'COPY',
  'MOVE',
  'LOCK',
  'UNLOCK',
  'SEARCH',
  'REPORT',
  'PURGE',
].map((method) => `${method} `)
const longest = Math.max(preface.length, ...methods.map(({ length }) => length))

/** What of a first line is looked at for the words of a request. */
export const maxSniffedLine = 8 << 10
/** A request by another method, or after empty lines, which servers skip (RFC 9112 §2.2). */
const requestLine = /^(?:\r?\n)*[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t][^\r\n]*[ \t]HTTP\/\d(?:\.\d)?[ \t]*\r?\n/

/** A client's first bytes begin a TLS handshake record of any version (RFC 8446 §5.1). */
const handshakeRecord = 0x16

/**
 * What a client's first bytes speak. `other` is what can be said of these: a whole line more may turn out to be a request.
 * `more` means that they are the beginning of several things: it is for the caller to
 * stop waiting, since where the server speaks first a client may say nothing at all.
 */
export function sniff(bytes: Buffer): Sniffed {
  if (bytes.length === 0) return 'more'
  if (bytes[0] === handshakeRecord) return bytes.length === 1 ? 'more' : bytes[1] === 3 ? 'tls' : 'other'
  const text = bytes.toString('latin1', 0, longest)
  if (text.startsWith(preface)) return 'http2'
  for (const method of methods) if (text.startsWith(method)) return 'http1'
  const open = preface.startsWith(text) || methods.some((method) => method.startsWith(text))
  if (open) return 'more'
  return requestLine.test(bytes.toString('latin1', 0, maxSniffedLine)) ? 'http1' : 'other'
}
