/** Bodies that are being read, all together: an API server sends a few small ones at a time. */
const maxBytes = 64 << 20
/** Of which one address may have so many: ten objects of the largest size. */
const maxBytesPerAddress = 32 << 20
/** API servers, each with as many requests at once as a busy deployment makes. */
export const maxConnections = 256
/** Who is not an API server must not take its place: nobody asks callers who they are. */
const maxConnectionsPerAddress = 64

/** What callers hold, per address. An address is in it only as long as it holds something. */
export class Room {
  readonly #connections = new Map<string, number>()
  readonly #bytes = new Map<string, number>()
  #total = 0

  /** A place for one more connection; false when the address has enough. */
  enter(address: string): boolean {
    if ((this.#connections.get(address) ?? 0) >= maxConnectionsPerAddress) return false
    add(this.#connections, address, 1)
    return true
  }

  leave(address: string): void {
    add(this.#connections, address, -1)
  }

  /** Memory for more of a body; false when there is none. */
  take(address: string, bytes: number): boolean {
    if (this.#total + bytes > maxBytes) return false
    if ((this.#bytes.get(address) ?? 0) + bytes > maxBytesPerAddress) return false
    this.#total += bytes
    add(this.#bytes, address, bytes)
    return true
  }

  giveBack(address: string, bytes: number): void {
    this.#total -= bytes
    add(this.#bytes, address, -bytes)
  }
}

function add(counts: Map<string, number>, address: string, much: number): void {
  const now = (counts.get(address) ?? 0) + much
  if (now > 0) counts.set(address, now)
  else counts.delete(address)
}
