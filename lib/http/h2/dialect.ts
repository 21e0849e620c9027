import type { Dialect, Message } from '#hbone'
import { isAuthority, isMethod, isPath } from '../h1/request-head.ts'

const lengthPattern = /^\d{1,15}$/

const valuesOf = ({ flat }: Message, name: string): readonly string[] =>
  flat.filter((_, i) => i % 2 === 1 && flat[i - 1] === name)

/** Why the length is not one; readers must not differ in what they make of a message. */
function lengthFault(message: Message): string | undefined {
  const lengths = valuesOf(message, 'content-length')
  const [length] = lengths
  if (length === undefined) return undefined
  return lengths.length > 1 || !lengthPattern.test(length) ? 'content-length is not one number' : undefined
}

/** Host and `:authority` say the same, or one of them is missing. */
function authorityFault(message: Message): string | undefined {
  const hosts = valuesOf(message, 'host')
  const authority = message.authority ?? hosts[0]
  if (authority === undefined || !isAuthority(authority)) return 'no authority'
  if (hosts.length > 1 || hosts.some((host) => host.toLowerCase() !== authority.toLowerCase()))
    return 'two different authorities'
  return undefined
}

/** Requests of all kinds (RFC 9113 §8.3, RFC 8441), judged as strictly as those of HTTP/1.1: some leave as such. */
export const requestDialect: Dialect = {
  request(message) {
    const { method, scheme, path, protocol, ended } = message
    if (method === undefined || !isMethod(method)) return 'no method'
    const connect = method === 'CONNECT'
    if (protocol !== undefined && (!connect || protocol === '')) return ':protocol without CONNECT'
    if (connect && protocol === undefined) {
      if (scheme !== undefined || path !== undefined) return 'CONNECT takes exactly an authority'
    } else {
      if (scheme !== 'http' && scheme !== 'https') return 'scheme is neither http nor https'
      if (path === undefined || !isPath(path) || (path === '*' && method !== 'OPTIONS'))
        return 'malformed path'
    }
    const length = lengthFault(message)
    if (length !== undefined) return length
    const [bytes = '0'] = valuesOf(message, 'content-length')
    if (Number(bytes) > 0 && (ended || connect)) return 'content-length without content'
    if (valuesOf(message, 'expect').some((value) => value.toLowerCase() !== '100-continue'))
      return 'unknown expectation'
    return authorityFault(message)
  },
  response(message) {
    const { status = '', ended } = message
    if (!/^[1-9]\d\d$/.test(status)) return 'no status'
    if (status === '101') return 'HTTP/2 switches no protocols'
    if (ended && status < '200') return 'interim answer that ends its stream'
    return lengthFault(message)
  },
  general: true,
}
