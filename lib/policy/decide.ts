import { type Cidr, containing } from '#base'
import { partsOf } from '#identity'
import type {
  Authorization,
  Connection,
  Lists,
  Match,
  MatchFields,
  PolicyName,
  TextMatch,
} from './authorization.ts'

/** What is decided about a connection, and what decided it. */
export type Decision =
  | Readonly<{ verdict: 'allow'; by: PolicyName | 'no-allow-policies' }>
  | Readonly<{ verdict: 'deny'; by: PolicyName }>
  | Readonly<{ verdict: 'deny'; by: 'nothing-allowed'; considered: readonly PolicyName[] }>
  | Readonly<{ verdict: 'deny'; by: 'policy-not-received'; considered: readonly PolicyName[] }>

/**
 * Any DENY that matches denies; a policy that the workload names but that has not arrived denies; no ALLOW at all
 * allows; otherwise some ALLOW must match. Dry-run policies take no part (ztunnel: rbac.rs, state.rs).
 */
export function decide(
  policies: readonly Authorization[],
  connection: Connection,
  missing: readonly PolicyName[] = [],
): Decision {
  const subject = subjectOf(connection)
  const enforced = policies.filter((policy) => !policy.dryRun)
  const deny = enforced.find((policy) => policy.action === 'deny' && matches(policy, subject))
  if (deny) return { verdict: 'deny', by: deny.name }
  if (missing.length > 0) return { verdict: 'deny', by: 'policy-not-received', considered: missing }
  const allows = enforced.filter((policy) => policy.action === 'allow')
  if (allows.length === 0) return { verdict: 'allow', by: 'no-allow-policies' }
  const allow = allows.find((policy) => matches(policy, subject))
  if (allow) return { verdict: 'allow', by: allow.name }
  return { verdict: 'deny', by: 'nothing-allowed', considered: allows.map((policy) => policy.name) }
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

type Subject = Readonly<{
  connection: Connection
  /** `td/ns/x/sa/y`; undefined without identity. */
  principal: string | undefined
  namespace: string
  serviceAccount: string | undefined
  fromSource: (block: Cidr) => boolean
  toDestination: (block: Cidr) => boolean
}>

function subjectOf(connection: Connection): Subject {
  const parts = connection.peer === undefined ? undefined : partsOf(connection.peer)
  return {
    connection,
    principal: connection.peer?.slice('spiffe://'.length),
    namespace: parts?.namespace ?? '',
    serviceAccount: parts?.serviceAccount,
    fromSource: containing(connection.source),
    toDestination: containing(connection.destination.address),
  }
}

const matches = (policy: Authorization, subject: Subject): boolean =>
  policy.rules.some((rule) =>
    rule.every((clause) => clause.length === 0 || clause.some((match) => matchHolds(match, subject))),
  )

function matchHolds(match: Match, subject: Subject): boolean {
  if (match === 'always' || match === 'never') return match === 'always'
  if (constrainsNothing(match)) return false // ztunnel skips a match whose lists are all empty
  return (
    holds(match.destinationPorts, (port) => port === subject.connection.destination.port) &&
    holds(match.namespaces, (text) => textHolds(text, subject.namespace)) &&
    holds(match.serviceAccounts, (account) => isAccount(account, subject)) &&
    holds(
      match.principals,
      (text) => subject.principal !== undefined && textHolds(text, subject.principal),
    ) &&
    holds(match.sourceIps, subject.fromSource) &&
    holds(match.destinationIps, subject.toDestination)
  )
}

const holds = <T>({ any, none }: Lists<T>, test: (value: T) => boolean): boolean =>
  (any.length === 0 || any.some(test)) && !none.some(test)

const isAccount = (account: { namespace: string; serviceAccount: string }, subject: Subject) =>
  account.serviceAccount === subject.serviceAccount && account.namespace === subject.namespace

const constrainsNothing = (match: MatchFields): boolean =>
  Object.values(match).every(({ any, none }) => any.length === 0 && none.length === 0)

function textHolds(match: TextMatch, value: string): boolean {
  switch (match.kind) {
    case 'exact':
      return value === match.value
    case 'prefix':
      return value.startsWith(match.value)
    case 'suffix':
      return value.endsWith(match.value)
    case 'presence':
      return value !== ''
  }
}
