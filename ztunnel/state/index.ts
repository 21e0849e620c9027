/** The mesh as last pushed. */
export {
  addressHandler,
  authorizationHandler,
  type Change,
  type Gateway,
  MeshState,
  parseService,
  parseWorkload,
  type PodName,
  type Service,
  type ServiceKey,
  type Update,
  type Workload,
  type WorkloadUid,
} from '#mesh'
/** Where a connection goes, and why. Pure. */
export { type OutboundQuestion } from './gateways.ts'
export { resolveOutbound } from './resolve-outbound.ts'
export {
  failedEndpoint,
  finishRoute,
  type Going,
  type Reason,
  type RejectReason,
  type RejectRoute,
  type ResolveRoute,
  type Route,
  type Way,
} from './route.ts'
export {
  type InboundQuestion,
  type InboundReason,
  type InboundRejectReason,
  type InboundTarget,
  resolveInbound,
} from './resolve-inbound.ts'
/** The ports that are ours in every pod. */
export { hbonePort, inboundPlaintextPort, isLoopback, outboundPort, ownPorts } from './ports.ts'
