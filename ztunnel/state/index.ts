/** The mesh as last pushed. */
export { type Change, MeshState, type Update } from './mesh-state.ts'
/** Its rows. */
export {
  type Gateway,
  type PodName,
  type Service,
  type ServiceKey,
  type Workload,
  type WorkloadUid,
} from './mesh.ts'
/** Bytes → rows; throws for what cannot be used. */
export { parseService, parseWorkload } from './parse.ts'
/** xDS → state. */
export { addressHandler, authorizationHandler } from './handlers.ts'
/** Where a connection goes, and why. Pure. */
export { gatewayName, type OutboundQuestion } from './gateways.ts'
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
