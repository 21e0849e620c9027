import { maxRingSize, maxTableSize } from '#routes'
import type { Host } from './host.ts'
import { Schedule } from './schedule.ts'
import { xxhash64 } from './xxhash64.ts'

type Find = (hash: bigint) => Host | undefined

/** What hashing is by: the same on every replica, whatever the order of endpoints. */
const nameOf = (host: Host) => `${host.workload.addresses[0] ?? host.uid}:${host.port}`
const byName = (a: Host, b: Host) => (nameOf(a) < nameOf(b) ? -1 : 1)

/** A point of the ring is one number, which sorts fast: 32 bits of place, and whose it is. */
const maxHosts = 2 ** 21

/** A ring as ketama's: each host has points on it by its share of the weights, the next point clockwise has the request. */
export function ring(given: readonly Host[], weightOf: (host: Host) => number, minimumSize: number): Find {
  const hosts = given.toSorted(byName)
  const total = hosts.reduce((sum, host) => sum + weightOf(host), 0)
  const least = hosts.reduce((min, host) => Math.min(min, weightOf(host)), Number.POSITIVE_INFINITY)
  const size = Math.min(maxRingSize, Math.max(minimumSize, Math.ceil(total / least)))
  const counts = hosts.map((host) => Math.max(1, Math.round((size * weightOf(host)) / total)))
  const points = new Float64Array(counts.reduce((sum, count) => sum + count, 0))
  let at = 0
  for (const [index, host] of hosts.entries()) {
    const hash = xxhash64(nameOf(host))
    const [high, low] = [Number(hash >> 32n), Number(hash & 0xffff_ffffn)]
    for (let i = 0; i < (counts[index] ?? 0); i++)
      points[at++] = (mixed(mixed(low + Math.imul(i, golden)) ^ high) >>> 0) * maxHosts + index
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

const golden = 0x9e37_79b1

/** Every bit of the result hangs on every bit of the 32 (murmur3's last step). */
function mixed(bits: number): number {
  let x = bits | 0
  x = Math.imul(x ^ (x >>> 16), 0x85eb_ca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2_ae35)
  return x ^ (x >>> 16)
}

/** Maglev's table: every host fills it in its own order, as often as its weight says. */
export function maglevTable(given: readonly Host[], weightOf: (host: Host) => number, asked: number): Find {
  const size = Math.min(maxTableSize, asked)
  const hosts = given.toSorted(byName)
  const table = new Int32Array(size).fill(-1)
  const entries = hosts.map((host, index) => ({
    index,
    offset: Number(xxhash64(nameOf(host)) % BigInt(size)),
    skip: Number(xxhash64(nameOf(host), 1n) % BigInt(size - 1)) + 1,
    next: 0,
    weight: weightOf(host),
  }))
  const turns = new Schedule(
    entries,
    ({ weight }) => weight,
    () => 1,
  )
  for (let filled = 0; filled < size; filled++) {
    const entry = turns.next()
    if (!entry) break
    const place = () => (entry.offset + entry.skip * entry.next) % size
    while (table[place()] !== -1) entry.next++
    table[place()] = entry.index
    entry.next++
  }
  return (hash) => hosts[table[Number(hash % BigInt(size))] ?? 0]
}
