import { maxRingSize, maxTableSize } from '#routes'
import type { Host } from './host.ts'
import { xxhash64, xxhash64Word } from './xxhash64.ts'

type Find = (hash: bigint) => Host | undefined

/** What hashing is by: the same on every replica, whatever the order of endpoints. */
const nameOf = (host: Host) => `${host.workload.addresses[0] ?? host.uid}:${host.port}`
const byName = (a: Host, b: Host) => (nameOf(a) < nameOf(b) ? -1 : 1)

/** A point of the ring is one number, which sorts fast: 32 bits of place, and whose it is. */
const maxHosts = 2 ** 21

/** How many points each host has: whole ones for who has the fewest, and what rounding leaves one after the other (Envoy). */
function pointCounts(weights: readonly number[], minimumSize: number): readonly number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const least = weights.reduce((min, weight) => Math.min(min, weight), Number.POSITIVE_INFINITY) / total
  const size = Math.min(maxRingSize, Math.ceil(least * minimumSize) / least)
  let target = 0
  let made = 0
  return weights.map((weight) => {
    target += size * (weight / total)
    const count = Math.max(1, Math.ceil(target) - made)
    made += count
    return count
  })
}

/** The longest number of a point, and what is before it. */
const maxDigits = 8

/** A ring as ketama's: each host has points on it by its share of the weights, the next point clockwise has the request. */
export function ring(given: readonly Host[], weightOf: (host: Host) => number, minimumSize: number): Find {
  const hosts = given.toSorted(byName)
  const counts = pointCounts(hosts.map(weightOf), minimumSize)
  const points = new Float64Array(counts.reduce((sum, count) => sum + count, 0))
  let at = 0
  for (const [index, host] of hosts.entries()) {
    const prefix = Buffer.from(`${nameOf(host)}_`)
    const name = Buffer.concat([prefix, Buffer.alloc(maxDigits)])
    for (let i = 0; i < (counts[index] ?? 0); i++) {
      const length = prefix.length + name.write(`${i}`, prefix.length, 'latin1')
      points[at++] = (xxhash64Word(name, length).high >>> 0) * maxHosts + index
    }
  }
  points.sort()
  return (hash) => {
    const from = Number(hash >> 32n) * maxHosts
    let [low, high] = [0, points.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((points[middle] ?? 0) < from) low = middle + 1
      else high = middle
    }
    return hosts[(points[low] ?? points[0] ?? 0) % maxHosts]
  }
}

/** Maglev's table: every host fills it in its own order, as often as its weight says. */
export function maglevTable(given: readonly Host[], weightOf: (host: Host) => number, asked: number): Find {
  const size = Math.min(maxTableSize, asked)
  const hosts = given.toSorted(byName)
  const table = new Int32Array(size).fill(-1)
  const most = hosts.reduce((max, host) => Math.max(max, weightOf(host)), 0)
  const entries = hosts.map((host, index) => ({
    index,
    offset: Number(xxhash64(nameOf(host)) % BigInt(size)),
    skip: Number(xxhash64(nameOf(host), 1) % BigInt(size - 1)) + 1,
    next: 0,
    weight: weightOf(host),
    filled: 0,
  }))
  // In each turn those choose a place, one after the other, whose weight has come to one by then: the heaviest in all of them.
  const turns = new Map([[1, entries]])
  let filled = 0
  for (let turn = 1; filled < size; turn++) {
    const choosing = turns.get(turn)?.toSorted((a, b) => a.index - b.index) ?? []
    turns.delete(turn)
    for (const entry of choosing) {
      if (filled++ >= size) break
      const place = () => (entry.offset + entry.skip * entry.next) % size
      while (table[place()] !== -1) entry.next++
      table[place()] = entry.index
      entry.next++
      const next = Math.max(turn + 1, Math.ceil((++entry.filled * most) / entry.weight))
      const others = turns.get(next)
      if (others) others.push(entry)
      else turns.set(next, [entry])
    }
  }
  return (hash) => hosts[table[Number(hash % BigInt(size))] ?? 0]
}
