/** xDS type URL of `istio.workload.Address`. */
export const addressTypeUrl = 'type.googleapis.com/istio.workload.Address'
/** xDS type URL of `istio.security.Authorization`. */
export const authorizationTypeUrl = 'type.googleapis.com/istio.security.Authorization'
