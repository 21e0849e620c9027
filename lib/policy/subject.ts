import { type Ip, ipToBytes, isIpv6 } from '#base'
import { partsOf } from '#identity'
import type { Connection } from './authorization.ts'

/** An address in a form that compares in the order of addresses: a number for IPv4, 32 hex digits for IPv6. */
export type AddressKey = number | string

/** A connection, read once for all the policies that ask about it. */
export type Subject = Readonly<{
  /** `td/ns/x/sa/y`; undefined without identity. */
  principal: string | undefined
  /** '' without identity. */
  namespace: string
  /** `namespace/service account`; undefined without identity. */
  account: string | undefined
  port: number
  source: AddressKey
  destination: AddressKey
}>

/** Addresses are read only where some policy asks for them. */
export function subjectOf({ peer, source, destination }: Connection, readsAddresses: boolean): Subject {
  const parts = peer === undefined ? undefined : partsOf(peer)
  return {
    principal: peer?.slice('spiffe://'.length),
    namespace: parts?.namespace ?? '',
    account: parts && accountKey(parts),
    port: destination.port,
    source: readsAddresses ? addressKey(source) : 0,
    destination: readsAddresses ? addressKey(destination.address) : 0,
  }
}

/** Neither part can hold a slash. */
export const accountKey = (account: Readonly<{ namespace: string; serviceAccount: string }>): string =>
  `${account.namespace}/${account.serviceAccount}`

const addressKey = (address: Ip): AddressKey =>
  isIpv6(address) ? Buffer.from(ipToBytes(address)).toString('hex') : ipv4Number(address)

/** `10.0.0.1` → 0x0a000001; an `Ip` is canonical, so there is nothing to check. */
function ipv4Number(address: Ip): number {
  let number = 0
  let part = 0
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i)
    if (code !== 0x2e) part = part * 10 + code - 0x30
    else {
      number = number * 256 + part
      part = 0
    }
  }
  return number * 256 + part
}
