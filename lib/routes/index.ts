/** The model of a service's routes, as the controller compiles it and waypoints obey it. */
export type * from './model.ts'
export type * from './destination-policy.ts'
export { modelVersion, policyKey, serviceRoutesTypeUrl, waypointKey } from './model.ts'
