import { closeSync } from 'node:fs'
import { ip, type SocketAddress } from '#base'
import { addon, succeed } from './addon.ts'
import type { Netns } from './netns.ts'

/** The kernel's table of the connections of a network namespace. Dispose closes it. */
export type Conntrack = Disposable &
  Readonly<{
    /**
     * Where a datagram from `peer` was going before it was redirected to `local`; undefined when that is not known, and
     * when it was not redirected. UDP has no SO_ORIGINAL_DST. Costs two system calls.
     */
    originalDst(local: SocketAddress, peer: SocketAddress): SocketAddress | undefined
  }>

/** Opens the table of `netns`, by default the own; needs NET_ADMIN. Throws where the kernel has none. */
export function openConntrack(netns?: Netns): Conntrack {
  const fd = succeed('netfilter netlink socket', addon().conntrackSocket(netns?.fd ?? -1))
  let open = true
  return {
    originalDst: (local, peer) => {
      if (!open) return undefined
      const found = addon().conntrackOriginal(fd, local.address, local.port, peer.address, peer.port)
      if (typeof found === 'number') return undefined // whatever the reason, there is nothing else to ask
      const original = { address: ip(found[0]), port: found[1] }
      return original.address === local.address && original.port === local.port ? undefined : original
    },
    [Symbol.dispose]: () => {
      if (open) closeSync(fd)
      open = false
    },
  }
}
