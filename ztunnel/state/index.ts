/** The mesh as last pushed. */
export { type Change, MeshState, type Update } from './mesh-state.ts'
/** Its rows. */
export {
  type Gateway,
  type PodName,
  type Service,
  type ServiceKey,
  serviceKey,
  type Workload,
  type WorkloadUid,
} from './mesh.ts'
/** Bytes → rows; throws for what cannot be used. */
export { parseService, parseWorkload } from './parse.ts'
/** xDS → state. */
export { addressHandler, authorizationHandler } from './handlers.ts'
/** Where a connection goes, and why. Pure. */
export { gatewayName, type OutboundQuestion, resolveOutbound, type Route } from './resolve-outbound.ts'
export { type InboundTarget, resolveInbound } from './resolve-inbound.ts'
/** The ports that are ours in every pod. */
export { hbonePort, inboundPlaintextPort, isLoopback, outboundPort, ownPorts } from './ports.ts'
