import type { LoadBalancer } from '#routes'
import type { Host } from './host.ts'
import { maglevTable, ring } from './hash-ring.ts'
import { Schedule } from './schedule.ts'

/** Chooses among the hosts of one level. `hash` is of the request; without one, hashing balancers choose at random. */
export type Picker = (hash: bigint | undefined) => Host | undefined

type Draw = () => number

/** The chooser that a policy asks for, over hosts that may be chosen (facts: l7.md §3.5). */
export function pickerOf(
  balancer: LoadBalancer,
  hosts: readonly Host[],
  weightOf: (host: Host) => number,
  random: Draw,
): Picker {
  const atRandom = () => hosts[Math.floor(random() * hosts.length)]
  if (hosts.length <= 1) return () => hosts[0]
  switch (balancer.kind) {
    case 'round-robin': {
      const schedule = new Schedule(hosts, weightOf, random)
      return () => schedule.next()
    }
    case 'least-request':
      return leastRequest(hosts, weightOf, random)
    case 'ring-hash': {
      const find = ring(hosts, weightOf, balancer.minimumRingSize)
      return (hash) => (hash === undefined ? atRandom() : find(hash))
    }
    case 'maglev': {
      const find = maglevTable(hosts, weightOf, balancer.tableSize)
      return (hash) => (hash === undefined ? atRandom() : find(hash))
    }
    case 'random':
    case 'passthrough': // there is nobody's own address here: what was asked for is a service
      return atRandom
  }
}

/** Of two hosts the one with less to do; with unequal weights in turns that get rarer the more a host has to do. */
function leastRequest(hosts: readonly Host[], weightOf: (host: Host) => number, random: Draw): Picker {
  const [first] = hosts
  const isEqual = hosts.every((host) => first !== undefined && weightOf(host) === weightOf(first))
  if (!isEqual) {
    const schedule = new Schedule(hosts, (host) => weightOf(host) / (host.active + 1), random)
    return () => schedule.next()
  }
  return () => {
    const i = Math.floor(random() * hosts.length)
    const other = Math.floor(random() * (hosts.length - 1))
    const [a, b] = [hosts[i], hosts[other < i ? other : other + 1]]
    return a && b && b.active < a.active ? b : a
  }
}
