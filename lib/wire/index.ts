/** Istio's workload API: `Address`, `Workload`, `Service`. */
export * as workload from './generated/workload.ts'
/** Istio's L4 policy API: `Authorization`. */
export * as security from './generated/authorization.ts'
/** CNI agent ⇄ ztunnel messages. */
export * as zds from './generated/zds.ts'
/** The certificate service. */
export * as ca from './generated/ca.ts'
/** Delta ADS, the subset in use; and the whole-state ADS by which istioctl asks. */
export * as ads from './generated/ads.ts'
/** What `istioctl proxy-status` reads. */
export * as clientStatus from './generated/client-status.ts'
export { Any } from './generated/google/protobuf/any.ts'
export { Struct } from './generated/google/protobuf/struct.ts'
export { addressTypeUrl, authorizationTypeUrl } from './type-urls.ts'
/** What a workload tells of its pod's labels, by its own fields and by an extension of ours. */
export { labelOf, labelsExtension, toldLabels, workloadLabelsTypeUrl } from './workload-labels.ts'
/** Whether connections go on without a waypoint that is not there. */
export { failOpenExtension, failsOpen } from './fail-open.ts'
/** Whether a service is a Service or a host of a ServiceEntry. */
export { serviceEntryExtension, serviceKindOf } from './service-kind.ts'
