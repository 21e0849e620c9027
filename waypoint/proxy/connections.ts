import { formatAddress, type SocketAddress } from '#base'
import type { SpiffeId } from '#identity'

/** What is known of an open tunnel, for whoever looks at the dump. */
type Entry = Readonly<{
  src: SocketAddress
  peer: SpiffeId
  authority: string
  protocol: 'tcp' | 'http' | 'unknown'
}>

/** The tunnels that are open. */
export class Connections {
  readonly #open = new Map<object, Entry>()

  open(entry: Entry): Disposable & { as(protocol: Entry['protocol']): void } {
    const key = {}
    this.#open.set(key, entry)
    return {
      as: (protocol) => void this.#open.set(key, { ...entry, protocol }),
      [Symbol.dispose]: () => void this.#open.delete(key),
    }
  }

  get size(): number {
    return this.#open.size
  }

  dump(): readonly unknown[] {
    return [...this.#open.values()].map(({ src, peer, authority, protocol }) => ({
      src: formatAddress(src),
      peer,
      authority,
      protocol,
    }))
  }
}
