/** What routes are told about the Gateways that they name. */
export { mergedGatewayParents, parentEntries } from './route-parents.ts'
export { routeParentWriter } from './route-writer.ts'
/** Which listeners take a route in. */
export { type AttachingRoute, isAttached, readRoute } from './attachment.ts'
/** Makes the built-in GatewayClasses and keeps their status. */
export { classStatusWriter, classWriter } from './class-writer.ts'
/** The classes of Istio, and which of them an object is of. */
export {
  type BuiltInClass,
  builtInClasses,
  type ClassKind,
  classOf,
  type ClassOptions,
  defaultClassOptions,
} from './classes.ts'
/** The Service that stands for a Gateway. */
export { type Host, hostOf } from './host.ts'
/** What can be said of a listener before anybody serves it. */
export { conflictOf, kindsOf, listenerProblem, type RouteKind } from './listeners.ts'
export { type RenderOptions } from './pod-template.ts'
/** What is kept of a ConfigMap that may hold parameters. */
export { trimMap } from './parameters.ts'
/** The objects that a waypoint consists of. */
export { type Child, childrenOf, servicePorts } from './render.ts'
/** Which revision of the control plane an object belongs to. */
export type { Revision } from './revision.ts'
/** What a Gateway's status says, and the patch that makes it say so. */
export { type GatewayStatus, gatewayStatus, type Seen } from './status.ts'
export { statusPatch } from './status-patch.ts'
/** Deploys Gateways and writes their status. */
export { gatewayWriter, type GatewayWriterOptions } from './writer.ts'
