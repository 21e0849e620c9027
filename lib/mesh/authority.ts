import { isIpv6, parseAddress, type SocketAddress } from '#base'

/** What a CONNECT asks for. */
export type Authority =
  | Readonly<{ kind: 'address'; to: SocketAddress }>
  | Readonly<{ kind: 'hostname'; hostname: string; port: number }>

/** `ip:port` or `hostname:port`; anything else is undefined. */
export function parseAuthority(text: string): Authority | undefined {
  const to = parseAddress(text)
  // In brackets stands IPv6: an IPv4 address in IPv6 clothes is nobody's address (ztunnel compares them as written).
  if (to) return text.startsWith('[') && !isIpv6(to.address) ? undefined : { kind: 'address', to }
  const [, hostname = '', port = ''] = /^([A-Za-z0-9_-][A-Za-z0-9._-]{0,252}):(\d{1,5})$/.exec(text) ?? []
  if (Number(port) < 1 || Number(port) > 65_535 || /^[\d.]*$/.test(hostname)) return undefined
  return { kind: 'hostname', hostname: hostname.toLowerCase(), port: Number(port) }
}
