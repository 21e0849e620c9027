import { type Cidr, cidrContains, type Ip, ipFromBytes, MeshError } from '#base'

/** Where the addresses of ServiceEntries come from. */
export type VipRanges = Readonly<{ v4: Cidr; v6: Cidr }>
/** An item of `status.addresses`. */
export type Vip = Readonly<{ value: string; host?: string }>

/** As many of a range as are looked at; more than an API server can hold entries. */
const maxOffset = 1 << 20

/** Hands out the addresses of one range in their order, each once before any comes again. */
export class VipRange {
  readonly #range: Cidr
  readonly #size: number
  #last = 0

  constructor(range: Cidr) {
    this.#range = range
    this.#size = Math.min(2 ** Math.min(30, range.bytes.length * 8 - range.length), maxOffset)
  }

  holds(address: Ip): boolean {
    return cidrContains(this.#range, address)
  }

  overlaps(block: Cidr): boolean {
    const [wide, narrow] = block.length < this.#range.length ? [block, this.#range] : [this.#range, block]
    const address = ipFromBytes(narrow.bytes)
    return address !== undefined && cidrContains(wide, address)
  }

  /** Never the first and the last of the range, which are the network's and, in IPv4, everybody's. */
  next(isFree: (address: Ip) => boolean): Ip {
    for (let tries = 0; tries < this.#size; tries++) {
      this.#last = (this.#last + 1) % this.#size
      const address = this.#last === 0 || this.#last === this.#size - 1 ? undefined : this.#at(this.#last)
      if (address !== undefined && isFree(address)) return address
    }
    throw new MeshError('over-limit', { message: 'no address is left for ServiceEntries' })
  }

  #at(offset: number): Ip | undefined {
    const bytes = Buffer.from(this.#range.bytes)
    const end = bytes.length - 4
    bytes.writeUInt32BE((bytes.readUInt32BE(end) + offset) >>> 0, end)
    return ipFromBytes(bytes)
  }
}

/**
 * The addresses that the hosts shall have: one of each family. What a host has stays as long as it may; `mayKeep` says
 * whether nobody with a better right has it, `isFree` whether nobody has it at all.
 */
export function vipsFor(
  hosts: readonly string[],
  has: readonly Readonly<{ host: string; address: Ip }>[],
  ranges: readonly VipRange[],
  { mayKeep, isFree }: Readonly<Record<'mayKeep' | 'isFree', (address: Ip) => boolean>>,
): readonly Vip[] {
  const taken = new Set<Ip>()
  const ours = new Set(has.map(({ address }) => address))
  return hosts.flatMap((host) =>
    ranges.map((range) => {
      const kept = has.find(
        (vip) =>
          vip.host === host && range.holds(vip.address) && !taken.has(vip.address) && mayKeep(vip.address),
      )
      const value =
        kept?.address ?? range.next((address) => !taken.has(address) && !ours.has(address) && isFree(address))
      taken.add(value)
      return { value, host }
    }),
  )
}
