import type { Host } from './host.ts'
import { xxhash64 } from './xxhash64.ts'

type Find = (hash: bigint) => Host | undefined

/** Envoy's largest ring. */
const maxRingSize = 8_388_608
/** What hashing is by: the same on every replica, whatever the order of endpoints. */
const nameOf = (host: Host) => `${host.workload.addresses[0] ?? host.uid}:${host.port}`
const byName = (a: Host, b: Host) => (nameOf(a) < nameOf(b) ? -1 : 1)

/** A ring as ketama's: each host has points on it by its share of the weights, the next point clockwise has the request. */
export function ring(given: readonly Host[], weightOf: (host: Host) => number, minimumSize: number): Find {
  const hosts = given.toSorted(byName)
  const total = hosts.reduce((sum, host) => sum + weightOf(host), 0)
  const least = Math.min(...hosts.map(weightOf))
  const size = Math.min(maxRingSize, Math.max(minimumSize, Math.ceil(total / least)))
  const points = hosts.flatMap((host) => {
    const count = Math.max(1, Math.round((size * weightOf(host)) / total))
    return Array.from({ length: count }, (_, i) => ({ host, at: xxhash64(`${nameOf(host)}_${i}`) }))
  })
  points.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
  return (hash) => {
    let [low, high] = [0, points.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((points[middle]?.at ?? 0n) < hash) low = middle + 1
      else high = middle
    }
    return (points[low] ?? points[0])?.host
  }
}

/** Maglev's table: every host fills it in its own order, as often as its weight says. */
export function maglevTable(given: readonly Host[], weightOf: (host: Host) => number, size: number): Find {
  const hosts = given.toSorted(byName)
  const most = Math.max(...hosts.map(weightOf))
  const table = Array.from<Host | undefined>({ length: size })
  const entries = hosts.map((host) => ({
    host,
    offset: Number(xxhash64(nameOf(host)) % BigInt(size)),
    skip: Number(xxhash64(nameOf(host), 1n) % BigInt(size - 1)) + 1,
    next: 0,
    weight: weightOf(host),
    target: 0,
  }))
  for (let filled = 0, turn = 1; filled < size; turn++) {
    for (const entry of entries) {
      if (filled >= size) break
      if (turn * entry.weight < entry.target) continue
      entry.target += most
      let place = (entry.offset + entry.skip * entry.next) % size
      while (table[place] !== undefined) place = (entry.offset + entry.skip * ++entry.next) % size
      table[place] = entry.host
      entry.next++
      filled++
    }
  }
  return (hash) => table[Number(hash % BigInt(size))]
}
