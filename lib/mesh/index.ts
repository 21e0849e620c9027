/** The mesh as last pushed. */
export { type Change, type Derived, MeshState, type Update } from './mesh-state.ts'
/** Its rows, and what is said about one of them. */
export {
  type Gateway,
  gatewayName,
  type LoadBalancer,
  type Locality,
  type Party,
  type PodName,
  type PortMap,
  type Scope,
  type Service,
  type ServiceKey,
  type Workload,
  type WorkloadUid,
} from './mesh.ts'
/** Bytes → rows; throws for what cannot be used. */
export { parseService, parseWorkload } from './parse.ts'
/** xDS → state. */
export { addressHandler, authorizationHandler } from './handlers.ts'
/** Which port and address of a workload serve a port of a service, and who may answer there. */
export { addressOf, expectedOf, isAllowed, type Mode, targetPort } from './endpoint.ts'
/** What travels beside a tunnel. */
export {
  baggageOf,
  forwardedHost,
  isFromElsewhere,
  partyOf,
  requestHeaders,
  traceOf,
} from './headers.ts'
/** Rows as istioctl reads them. */
export { dumpEndpoint, dumpPolicy, dumpService, dumpWorkload } from './dump.ts'
/** What the authority of a CONNECT asks for. */
export { type Authority, parseAuthority } from './authority.ts'
/** Waypoints and gateways as services. */
export { allWaypoints, gatewayService } from './gateways.ts'
