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
