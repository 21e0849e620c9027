/** The L4 policy as enforced, and the facts about a connection it is judged by. */
export {
  type Authorization,
  type Connection,
  type Match,
  type MatchFields,
  type PolicyName,
  policyName,
  type Rule,
  type TextMatch,
} from './authorization.ts'
/** Wire → policy, closing whatever cannot be read. */
export { decodeAuthorization, parseAuthorization } from './parse.ts'
/** Verdict and reason for one connection, and what policies on trial would have made of it. */
export { decide, type Decision, type DryRun, explainDecision, explainDryRun } from './decide.ts'
/** A policy of action AUDIT, as the wire can carry it. */
export { auditPolicy } from './audit.ts'
/** The set of policies held, and which of them concern a workload. */
export {
  type Applicable,
  applicableOf,
  noPolicies,
  type Policies,
  policiesFor,
  updatePolicies,
} from './policies.ts'
/** Policies of waypoints, each with what it is attached to. */
export {
  type AttachedTo,
  decodeTargeted,
  encodeTargeted,
  type TargetedPolicy,
  targetedPolicyTypeUrl,
} from './targeted.ts'
