/** Whether a child must be applied, may not be touched, or is as wanted. */
export { type ApplyStep, applyStep, isIn } from './apply-step.ts'
/** Makes the built-in GatewayClasses and keeps their status. */
export { classConditions, classStatusWriter, classWriter } from './class-writer.ts'
/** The classes of Istio, and which of them an object is of. */
export { type BuiltInClass, builtInClasses, type ClassKind, classOf } from './classes.ts'
/** The Service that stands for a Gateway. */
export { type Host, hostOf, isManual } from './host.ts'
export { type RenderOptions } from './pod-template.ts'
/** The objects that a waypoint consists of. */
export { type Child, childrenOf, servicePorts } from './render.ts'
/** Which revision of the control plane an object belongs to. */
export { isMine, type Revision, tagsFrom } from './revision.ts'
/** What a Gateway's status says. */
export { type GatewayStatus, gatewayStatus, listenerProblem, type Seen, statusPatch } from './status.ts'
/** Deploys Gateways and writes their status. */
export { gatewayWriter, type GatewayWriterOptions, readyPortsOf } from './writer.ts'
