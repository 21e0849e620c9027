import { formatAddress, type Ip, type SocketAddress, unreachable } from '#base'
import type { SpiffeId } from '#identity'
import type { Service, Workload, WorkloadUid } from '#mesh'
import { hbonePort } from './ports.ts'

/** Why a connection goes where it goes: for the access log, and for whoever asks what would happen. */
export type Reason =
  | 'not-in-mesh' // nobody has the address
  | 'own-address' // it does not leave the pod
  | 'service-passthrough' // the service has no endpoints of its own
  | 'workload-address' // a workload has it
  | 'service-endpoint'
  | 'service-waypoint'
  | 'workload-waypoint'
  | 'past-waypoint' // it has one that nobody answers for, and is to be reached all the same
  | 'remote-endpoint' // on another network, through its gateway
  | 'remote-waypoint'

/** Why a connection goes nowhere. */
export type RejectReason =
  | 'self-call' // to a port of ours
  | 'outside-registry' // REGISTRY_ONLY
  | 'no-such-port'
  | 'no-healthy-upstream'
  | 'endpoints-failed' // all that are healthy have been tried
  | 'no-address' // nowhere to dial the one that was chosen
  | 'unknown-waypoint' // nobody has told us about it
  | 'waypoint-unavailable' // nobody who is ready and has not been tried takes connections for it
  | 'unknown-gateway'
  | 'remote-workload' // only a service's traffic may cross networks
  | 'remote-identity-unknown' // nothing says who the other network's endpoint is

/** `workload` is who is dialled, `service` what was meant. */
type Known = Readonly<{ workload: Workload; service: Service | undefined; reason: Reason }>

/** A way that lacks only the address to dial. */
export type Way = Known &
  Readonly<
    | { tunnel: 'none' | 'hbone'; port: number; expect: readonly SpiffeId[] }
    | { tunnel: 'waypoint'; port: number; authority: string; expect: readonly SpiffeId[] }
    | {
        tunnel: 'double-hbone'
        port: number
        authority: string
        expect: readonly SpiffeId[]
        inner: Inner
      }
  >

/** What is behind another network's gateway: who may answer there, and the endpoint as we know it. */
type Inner = Readonly<{ expect: readonly SpiffeId[]; endpoint: Workload }>

/** Where a connection goes, with all that is needed to go there. */
export type Going =
  | Readonly<{ kind: 'passthrough'; to: SocketAddress; reason: Reason }>
  | (Known & Readonly<{ kind: 'direct'; to: SocketAddress }>)
  | (Known &
      Readonly<{
        kind: 'hbone' | 'waypoint'
        via: SocketAddress
        authority: string
        expect: readonly SpiffeId[]
      }>)
  | (Known &
      Readonly<{
        kind: 'double-hbone'
        /** The gateway, which is `workload`. */
        via: SocketAddress
        /** Of both tunnels: the service as `hostname:port`. */
        authority: string
        expect: readonly SpiffeId[]
        inner: Inner
      }>)

/** The endpoint has a name instead of addresses: ask for it, then `finishRoute`. */
export type ResolveRoute = Readonly<{
  kind: 'resolve'
  hostname: string
  /** Ask for this family first. */
  prefer: 'ipv4' | 'ipv6'
  /** The service allows no other. */
  only: 'ipv4' | 'ipv6' | undefined
  way: Way
  reason: Reason
}>

/** A connection that goes nowhere, and why. */
export type RejectRoute = Readonly<{
  kind: 'reject'
  code: 'self-call' | 'no-upstream'
  reason: RejectReason
  message: string
}>

/** Where an outbound connection goes, or what has to be asked first, or why it goes nowhere. */
export type Route = Going | ResolveRoute | RejectRoute

/** The way with its first address. */
export function finishRoute(way: Way, address: Ip): Exclude<Going, { kind: 'passthrough' }> {
  const { workload, service, reason, port, expect } = way
  const known = { workload, service, reason }
  const there = { address, port }
  switch (way.tunnel) {
    case 'none':
      return { ...known, kind: 'direct', to: there }
    case 'hbone': {
      const via = { address, port: hbonePort }
      return { ...known, kind: 'hbone', via, authority: formatAddress(there), expect }
    }
    case 'waypoint':
      return { ...known, kind: 'waypoint', via: there, authority: way.authority, expect }
    case 'double-hbone': {
      const { authority, inner } = way
      return { ...known, kind: 'double-hbone', via: there, authority, expect, inner }
    }
    default:
      return unreachable(way)
  }
}

/** What a further attempt leaves out when this route fails before a byte was sent; undefined where nothing else is left. */
export const failedEndpoint = (route: Route): WorkloadUid | undefined =>
  route.kind === 'resolve'
    ? route.way.workload.uid
    : 'workload' in route && (route.service !== undefined || route.kind === 'waypoint')
      ? route.workload.uid
      : undefined
