/** A connection to an application, as its policy wants it. */
export { open, type Opened, streamOf } from './open.ts'
/** The endpoints of a destination, and which of them is next. */
export { Cluster, type ClusterParts, groupOf, placeOf, type Wish } from './cluster.ts'
export { Clusters } from './clusters.ts'
export { type Host, isEjected } from './host.ts'
export type { Outcome } from './outliers.ts'
/** The way to an endpoint. */
export { type NewSocket, ordinarySocket } from './dial.ts'
export {
  type Endpoint,
  endpointAddress,
  type Leaving,
  type Link,
  type ReachOptions,
} from './reach.ts'
export { newHost } from './host.ts'
export { hashOf } from './hash-of.ts'
export { ReplayBody } from './replay-body.ts'
export { defaultPolicy } from './default-policy.ts'
/** Both ends of a client's connection, as a PROXY header tells them. */
export type { Ends } from './proxy-header.ts'
export { tlsDigest, tlsName } from './tls-name.ts'
/** Hosts that are known by the names, or by the addresses, that clients use. */
export { askedHost, isAnyAddress } from './asked-host.ts'
export { isAnyName, namedHost } from './named-host.ts'
