/** The model of a service's routes, as the controller compiles it and waypoints obey it. */
export type * from './model.ts'
export type * from './destination-policy.ts'
export { modelVersion, policyKey, serviceRoutesTypeUrl, waypointKey } from './model.ts'
/** What holds where nobody says anything: Istio's defaults. */
export { noHeaders, usualHttpRule, usualL4Rule, usualPolicy, usualRetry } from './usual.ts'
/** How much a waypoint makes of what is hashed by. */
export { maxRingSize, maxTableSize } from './hash-sizes.ts'
/** Payload → model; what is not understood is closed, and told. */
export { type ParsedRoutes, parseServiceRoutes } from './parse.ts'
/** Why a user's expression, substitution, header, host or path cannot be used. */
export { patternProblem } from './text.ts'
export { substitutionProblem } from './rewrite.ts'
export { authorityProblem, headerProblem, pathProblem } from './headers.ts'
/** A request and its caller, as the decisions see them. */
export { type Caller, headerOf, type RouteRequest } from './request.ts'
/** Which rule a request falls to, and what that says. */
export { chooseRoute, type RouteChoice, type RouteTable, routeTable } from './choose.ts'
export { explainRoute, type RuleVerdict } from './explain.ts'
/** The same for connections that are not HTTP. */
export { chooseL4, type L4Choice } from './choose-l4.ts'
/** What is changed of a message. */
export { applyHeaderOps, type EditableHeaders } from './headers.ts'
export { changedTarget, type PathChange, redirectLocation, splitAuthority } from './rewrite.ts'
/** Faults, mirrors and percentages. */
export { drawFault, drawMirrors, type FaultDraw, isDrawn } from './draws.ts'
/** CORS. */
export { type CorsDecision, corsJudge } from './cors.ts'
/** Retries and timeouts. */
export {
  backoffMs,
  backoffWindowMs,
  grpcTimeout,
  isRetryCondition,
  type RetryDecision,
  type RetryFacts,
  retryRoom,
  shouldRetry,
  type Timeouts,
  type TryOutcome,
  withAskedRetries,
  timeoutsOf,
  withAskedTimeouts,
} from './retry.ts'
