import type { SocketAddress } from '#base'
import type { Netns } from '#linux'

/** Where a server of the proxy is, and which mark its packets carry. */
export type Bind = Readonly<{
  /** The own namespace when left out (dedicated mode). */
  netns: Netns | undefined
  mark: number
  family: 'ipv4' | 'ipv6'
  address: SocketAddress
}>

/** One socket that is asked. Disposing it ends everything at once. */
export type DnsServer = AsyncDisposable &
  Readonly<{
    /** Takes no more questions, answers those that it has, and closes. */
    drain(): Promise<void>
  }>
