import { isDeepStrictEqual } from 'node:util'
import type { HttpVersion, PoolDestination } from '#http'
import type { Service, Workload, WorkloadUid } from '#mesh'
import type { DestinationPolicy } from '#routes'

/** An endpoint of a destination as it is now, with what this process has seen of it. Replaced workloads keep their host. */
export type Host = {
  readonly uid: WorkloadUid
  workload: Workload
  /** Of the workload. */
  port: number
  /** Requests and connections that are on their way to it. */
  active: number
  /** When it was first seen, on the monotonic clock. */
  readonly since: number
  readonly health: HostHealth
  /** How requests got to it last. */
  way: KnownWay | undefined
}

/** A destination of the pool, and what it was made of: while all of that is the same it need not be made again. */
type KnownWay = Readonly<{
  workload: Workload
  port: number
  service: Service | undefined
  policy: DestinationPolicy
  version: HttpVersion
  destination: PoolDestination
}>

/** What outlier detection keeps of a host. */
export type HostHealth = {
  consecutive5xx: number
  consecutiveGatewayErrors: number
  consecutiveLocalFailures: number
  /** Ejections that still count; each lengthens the next. */
  ejections: number
  /** 0: it is not ejected. */
  ejectedUntil: number
}

/** An endpoint of which nothing has been seen yet. */
export const newHost = (workload: Workload, port: number, since: number): Host => ({
  uid: workload.uid,
  workload,
  port,
  active: 0,
  since,
  health: {
    consecutive5xx: 0,
    consecutiveGatewayErrors: 0,
    consecutiveLocalFailures: 0,
    ejections: 0,
    ejectedUntil: 0,
  },
  way: undefined,
})

/** Would a connection that was made to the one have been made to the other? */
export const leadsTheSameWay = (a: Workload, b: Workload): boolean =>
  a.identity === b.identity &&
  a.protocol === b.protocol &&
  a.hostname === b.hostname &&
  isDeepStrictEqual(a.networkGateway, b.networkGateway) &&
  a.addresses.length === b.addresses.length &&
  a.addresses.every((address, i) => address === b.addresses[i])

/** Is it left out for a while? */
export const isEjected = ({ health }: Host): boolean => health.ejectedUntil > 0

/** What a host weighs among others; a workload of capacity 0 is never chosen. */
export const weightOf = ({ workload }: Host): number => workload.capacity
