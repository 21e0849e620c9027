import type { Connection, PolicyName } from './authorization.ts'
import type { Compiled } from './compile.ts'
import type { Applicable, Sides } from './policies.ts'
import { type Subject, subjectOf } from './subject.ts'

/**
 * What is decided about a connection, and what decided it; `rule` is the index of the rule that matched. `audited` are
 * the AUDIT policies that match, if any.
 */
export type Decision = Enforced & Readonly<{ dryRun?: DryRun; audited?: readonly PolicyName[] }>

type Enforced =
  | Readonly<{ verdict: 'allow'; by: 'no-allow-policies' }>
  | Readonly<{ verdict: 'allow'; by: PolicyName; rule: number }>
  | Readonly<{ verdict: 'deny'; by: PolicyName; rule: number }>
  | Readonly<{ verdict: 'deny'; by: 'nothing-allowed'; considered: readonly PolicyName[] }>
  | Readonly<{ verdict: 'deny'; by: 'policy-not-received'; considered: readonly PolicyName[] }>

/** What the dry-run policies would have made of it, had they been enforced beside the others. */
export type DryRun = Readonly<{
  verdict: 'allow' | 'deny'
  /** The dry-run policies that match. */
  denying: readonly PolicyName[]
  allowing: readonly PolicyName[]
  /** The dry-run ALLOW policies none of which matches, where that is what would have denied. */
  considered: readonly PolicyName[]
}>

const nothingToAsk: Decision = { verdict: 'allow', by: 'no-allow-policies' }

/**
 * Any DENY that matches denies; a policy that the workload names but that has not arrived denies; no ALLOW at all
 * allows; otherwise some ALLOW must match. Dry-run policies take no part in the verdict (ztunnel: rbac.rs, state.rs).
 */
export function decide(applicable: Applicable, connection: Connection): Decision {
  if (applicable.policies.length === 0 && applicable.missing.length === 0) return nothingToAsk
  const subject = subjectOf(connection, applicable.readsAddresses)
  const decision = enforce(applicable, subject)
  const { dryRun, audit } = applicable
  if (dryRun === undefined && audit === undefined) return decision
  const audited = audit === undefined ? [] : matching(audit, subject)
  return {
    ...decision,
    ...(dryRun ? { dryRun: wouldBe(dryRun, applicable.enforced, decision, subject) } : {}),
    ...(audited.length > 0 ? { audited } : {}),
  }
}

const matching = (policies: readonly Compiled[], subject: Subject) =>
  policies.filter((policy) => policy.matchingRule(subject) >= 0).map(({ name }) => name)

function enforce({ enforced: { deny, allow }, missing }: Applicable, subject: Subject): Enforced {
  for (const policy of deny) {
    const rule = policy.matchingRule(subject)
    if (rule >= 0) return { verdict: 'deny', by: policy.name, rule }
  }
  if (missing.length > 0) return { verdict: 'deny', by: 'policy-not-received', considered: missing }
  if (allow.length === 0) return nothingToAsk
  for (const policy of allow) {
    const rule = policy.matchingRule(subject)
    if (rule >= 0) return { verdict: 'allow', by: policy.name, rule }
  }
  return { verdict: 'deny', by: 'nothing-allowed', considered: allow.map(({ name }) => name) }
}

function wouldBe(dryRun: Sides, enforced: Sides, decision: Enforced, subject: Subject): DryRun {
  const denying = matching(dryRun.deny, subject)
  const allowing = matching(dryRun.allow, subject)
  const byAllow = decision.verdict === 'allow' && decision.by !== 'no-allow-policies'
  const allowed = byAllow || allowing.length > 0 || enforced.allow.length + dryRun.allow.length === 0
  const refused = decision.verdict === 'deny' && decision.by !== 'nothing-allowed'
  return {
    verdict: refused || denying.length > 0 || !allowed ? 'deny' : 'allow',
    denying,
    allowing,
    considered: allowed ? [] : dryRun.allow.map(({ name }) => name),
  }
}

/** A decision as one sentence, in ztunnel's words. */
export function explainDecision(decision: Decision): string {
  if (decision.verdict === 'allow')
    return decision.by === 'no-allow-policies' ? 'no allow policies exist' : `allowed by: ${decision.by}`
  if (decision.by === 'nothing-allowed') return 'policy rejection: allow policies exist, but none allowed'
  if (decision.by === 'policy-not-received')
    return 'policy rejection: a policy of the workload has not been received yet'
  return `policy rejection: explicitly denied by: ${decision.by}`
}

/** What the dry-run policies would have done, as one sentence. */
export function explainDryRun({ verdict, denying, allowing, considered }: DryRun): string {
  if (denying.length > 0) return `would be denied by: ${denying.join(', ')}`
  if (considered.length > 0) return 'would be denied: allow policies exist, but none allowed'
  if (allowing.length > 0 && verdict === 'allow') return `would be allowed by: ${allowing.join(', ')}`
  return `would be ${verdict === 'allow' ? 'allowed' : 'denied'} all the same`
}
