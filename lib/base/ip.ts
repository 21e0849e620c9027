import { isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import type { Brand } from './types.ts'

/** An IP address in its shortest canonical text, never an IPv4-mapped IPv6 one. Made by `parseIp`, `ipFromBytes`. */
export type Ip = Brand<string, 'Ip'>
/** Where a TCP connection goes or comes from. */
export type SocketAddress = Readonly<{ address: Ip; port: number }>
/** A block of addresses; `bytes` has 4 or 16 bytes, `length` is at most 8 × that. */
export type Cidr = Readonly<{ bytes: Uint8Array; length: number }>

/** Canonical form of a textual address; undefined when it is none. Zones (`%eth0`) and IPv4 shorthands are none. */
export function parseIp(text: string): Ip | undefined {
  if (isIPv4(text)) return text as Ip // four decimals without leading zeros: canonical as it is
  if (text.includes('%') || !text.includes(':') || !ipaddr.IPv6.isValid(text)) return undefined
  const parsed = ipaddr.IPv6.parse(text)
  return (parsed.isIPv4MappedAddress() ? parsed.toIPv4Address().toString() : parsed.toString()) as Ip
}

/** `parseIp` for what must be right; throws a RangeError otherwise. */
export function ip(text: string): Ip {
  const parsed = parseIp(text)
  if (parsed === undefined) throw new RangeError(`not an IP address: ${text}`)
  return parsed
}

/** 4 or 16 bytes in network order → address; undefined for any other length. */
export function ipFromBytes(bytes: Uint8Array): Ip | undefined {
  if (bytes.length !== 4 && bytes.length !== 16) return undefined
  return parseIp(ipaddr.fromByteArray([...bytes]).toString())
}

/** 4 or 16 bytes in network order. */
export const ipToBytes = (address: Ip): Uint8Array => Uint8Array.from(ipaddr.parse(address).toByteArray())

/** True for an IPv6 address. */
export const isIpv6 = (address: Ip): boolean => address.includes(':')

/** `10.0.0.0/8` or a bare address; undefined when it is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const [head = '', tail, ...rest] = text.split('/')
  const address = parseIp(head)
  if (address === undefined || rest.length > 0) return undefined
  const bytes = ipToBytes(address)
  if (tail === undefined) return { bytes, length: bytes.length * 8 }
  if (!/^\d{1,3}$/.test(tail) || Number(tail) > bytes.length * 8) return undefined
  return { bytes, length: Number(tail) }
}

/** Is `address` in the block? Addresses of the other family never are. */
export function cidrContains(block: Cidr, address: Ip): boolean {
  const bytes = ipToBytes(address)
  if (bytes.length !== block.bytes.length) return false
  const whole = block.length >> 3
  for (let i = 0; i < whole; i++) if (bytes[i] !== block.bytes[i]) return false
  const rest = block.length & 7
  if (rest === 0) return true
  const mask = 0xff << (8 - rest)
  return ((bytes[whole] ?? 0) & mask) === ((block.bytes[whole] ?? 0) & mask)
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export const formatAddress = ({ address, port }: SocketAddress): string =>
  isIpv6(address) ? `[${address}]:${port}` : `${address}:${port}`

/** The inverse of `formatAddress`; undefined when it is not an IP address with a port of 1 to 65535. */
export function parseAddress(text: string): SocketAddress | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text)
  if (!match) return undefined
  const address = parseIp(match[1] ?? match[2] ?? '')
  const port = Number(match[3])
  if (address === undefined || port < 1 || port > 65_535) return undefined
  if (match[1] !== undefined && !match[1].includes(':')) return undefined
  return { address, port }
}
