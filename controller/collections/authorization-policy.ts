import { isRecord } from '#base'
import type { Condition, Custom } from '#kube'
import { security } from '#wire'
import { nameOf, namespaceOf } from './inputs.ts'
import { type Alternative, readAlternative, readCondition } from './match.ts'
import { newNotes, type Notes, shown } from './problems.ts'
import { annotations, type Settings } from './settings.ts'

/** What became of an AuthorizationPolicy: what ztunnel is told, whom it concerns, and what its status shall say. */
export type CompiledPolicy = Readonly<{
  key: string
  namespace: string
  /** Undefined when nothing of it is for ztunnel. */
  authorization: security.Authorization | undefined
  /** Of the workloads that must name it; undefined when its scope says it all. */
  selector: Readonly<Record<string, string>> | undefined
  condition: Condition
}>

const { Action, Scope } = security
type Enforced = 'ALLOW' | 'DENY'
type Target =
  | Readonly<{ kind: 'all' }>
  | Readonly<{ kind: 'selector'; selector: Readonly<Record<string, string>> }>
  | Readonly<{ kind: 'waypoint' }>

const fields = ['action', 'provider', 'rules', 'selector', 'targetRef', 'targetRefs']

/**
 * AuthorizationPolicy → the L4 form. Whatever ztunnel cannot enforce, or nobody can understand, makes the policy
 * stricter: an ALLOW rule with such a part matches nothing, a DENY rule loses the part and so denies more (Istio lets
 * a clause with only L7 parts fall inert; we do not).
 */
export function compilePolicy(policy: Custom, settings: Settings): CompiledPolicy {
  const notes = newNotes()
  const namespace = namespaceOf(policy)
  const key = `${namespace}/${nameOf(policy)}`
  const spec = isRecord(policy.spec) ? policy.spec : {}
  if (policy.spec !== undefined && !isRecord(policy.spec)) notes.invalid.push('spec is not an object')
  for (const field of Object.keys(spec))
    if (!fields.includes(field)) notes.invalid.push(`spec.${field}: unknown`)
  const target = targetOf(spec, notes)
  const none = (condition: Condition) => ({
    key,
    namespace,
    authorization: undefined,
    selector: undefined,
    condition,
  })
  if (target.kind === 'waypoint') return none(waypointsMissing)
  const asked = spec['action'] ?? 'ALLOW'
  if (asked === 'AUDIT')
    return none(refused('UnsupportedValue', 'action AUDIT is not done by ztunnel; it never refuses anything'))
  // Nobody can ask the external authorizer here, so what it would be asked about is refused (Istio lets it pass).
  const action = asked === 'CUSTOM' ? 'DENY' : asked
  const dryRun = policy.metadata.annotations?.[annotations.dryRun] === 'true'
  if (dryRun && !settings.dryRunPolicies)
    return none(refused('UnsupportedValue', 'dry-run policies are not enabled; this one is ignored'))
  const rules = rulesOf(action, spec, notes, namespace)
  const selector = target.kind === 'selector' ? target.selector : undefined
  const authorization: security.Authorization = {
    name: nameOf(policy),
    namespace,
    scope: selector
      ? Scope.WORKLOAD_SELECTOR
      : namespace === settings.rootNamespace
        ? Scope.GLOBAL
        : Scope.NAMESPACE,
    action: action === 'DENY' ? Action.DENY : Action.ALLOW,
    rules,
    dryRun,
    extensions: [],
  }
  return {
    key,
    namespace,
    authorization,
    selector,
    condition: asked === 'CUSTOM' ? noAuthorizer : conditionOf(action, notes),
  }
}

/** What stands for a policy that we fail on: within its reach nothing is allowed by it. */
export function closedPolicy(policy: Custom, settings: Settings): CompiledPolicy {
  const { annotations: _, ...metadata } = policy.metadata
  return compilePolicy({ metadata, spec: { selector: 'not read' } }, settings)
}

/** Whom the policy is about. A selector that cannot be read selects everybody, and then nothing may be allowed by it. */
function targetOf(spec: Record<string, unknown>, notes: Notes): Target {
  const { targetRef, targetRefs, selector } = spec
  if (targetRef !== undefined || (Array.isArray(targetRefs) && targetRefs.length > 0))
    return { kind: 'waypoint' }
  if (selector === undefined) return { kind: 'all' }
  const { matchLabels = {}, ...rest } = isRecord(selector) ? selector : { unreadable: selector }
  const readable =
    isRecord(matchLabels) &&
    Object.keys(rest).length === 0 &&
    Object.values(matchLabels).every((value) => typeof value === 'string')
  if (!readable) {
    notes.invalid.push(`spec.selector: ${shown(selector)} cannot be read; taken for everything in reach`)
    return { kind: 'all' }
  }
  const entries = Object.entries(matchLabels).map(([key, value]) => [key, String(value)] as const)
  return entries.length === 0 ? { kind: 'all' } : { kind: 'selector', selector: Object.fromEntries(entries) }
}

function rulesOf(
  action: unknown,
  spec: Record<string, unknown>,
  notes: Notes,
  namespace: string,
): security.Rule[] {
  if (action !== 'ALLOW' && action !== 'DENY') {
    notes.invalid.push(`spec.action: ${shown(action)} is not known; taken for an ALLOW that allows nothing`)
    return []
  }
  // Whom to allow is not known when the selector, or the whole spec, cannot be read.
  if (action === 'ALLOW' && notes.invalid.length > 0) return []
  const rules = spec['rules'] ?? []
  if (!Array.isArray(rules)) {
    notes.invalid.push(`spec.rules: ${shown(rules)} is not a list`)
    return action === 'DENY' ? [{ clauses: [] }] : []
  }
  return rules.flatMap((rule: unknown, i) => ruleOf(action, rule, `spec.rules[${i}]`, notes, namespace))
}

/** One rule, or none if it may not be enforced as it stands. A rule without clauses matches everything. */
function ruleOf(
  action: Enforced,
  rule: unknown,
  path: string,
  notes: Notes,
  namespace: string,
): security.Rule[] {
  const anything = action === 'DENY' ? [{ clauses: [] }] : []
  if (!isRecord(rule)) {
    notes.invalid.push(`${path}: ${shown(rule)} is not a rule`)
    return anything
  }
  const { from, to, when, ...rest } = rule
  for (const unknown of Object.keys(rest)) notes.invalid.push(`${path}.${unknown}: unknown`)
  if (Object.keys(rest).length > 0 && action === 'ALLOW') return []
  const entries = (list: unknown, name: string, read: (entry: unknown, at: string) => Alternative) => {
    if (list === undefined) return []
    if (Array.isArray(list)) return list.map((entry: unknown, i) => read(entry, `${path}.${name}[${i}]`))
    notes.invalid.push(`${path}.${name}: ${shown(list)} is not a list`)
    return [unreadable]
  }
  const source = (entry: unknown, at: string) => readAlternative(entry, at, 'source', notes, namespace)
  const operation = (entry: unknown, at: string) => readAlternative(entry, at, 'operation', notes, namespace)
  const condition = (entry: unknown, at: string) => readCondition(entry, at, notes, namespace)
  const clauses = [
    entries(from, 'from', source),
    entries(to, 'to', operation),
    ...entries(when, 'when', condition).map((alternative) => [alternative]),
  ].filter((alternatives) => alternatives.length > 0)
  if (action === 'ALLOW' && !clauses.flat().every(({ exact }) => exact)) return []
  // An alternative without any constraint is true, and so is its clause; ztunnel would read it as never true.
  return [
    {
      clauses: clauses
        .filter((alternatives) => !alternatives.some(({ any }) => any))
        .map((alternatives) => ({ matches: alternatives.map(({ match }) => match) })),
    },
  ]
}

/** What stands for a list that cannot be read. */
const unreadable: Alternative = readAlternative(undefined, '', 'source', newNotes(), '')

const ztunnelAccepted = (status: 'True' | 'False', reason: string, message: string): Condition => ({
  type: 'ZtunnelAccepted',
  status,
  reason,
  message,
})
const refused = (reason: string, message: string) => ztunnelAccepted('False', reason, message)
const waypointsMissing: Condition = {
  type: 'WaypointAccepted',
  status: 'False',
  reason: 'AncestorNotBound',
  message: 'targetRefs need a waypoint, which this release does not have yet; the policy is not enforced',
}

const noAuthorizer = refused(
  'UnsupportedValue',
  'ztunnel cannot ask an external authorizer; connections that the rules match are denied',
)

/** A condition's message may be 32 KiB; a reader wants far less. */
const maxMessage = 1024

function conditionOf(action: unknown, { invalid, layer7 }: Notes): Condition {
  const effect =
    action === 'DENY'
      ? 'the rules concerned are enforced without those parts and deny more than written'
      : 'the rules concerned allow nothing'
  if (invalid.length > 0) return refused('Invalid', `${effect}: ${invalid.join('; ')}`.slice(0, maxMessage))
  if (layer7.size === 0) return ztunnelAccepted('True', 'Accepted', 'attached to ztunnel')
  const attributes = [...layer7].sort().join(', ')
  const message = `ztunnel does not enforce L7 attributes (${attributes}); ${effect}`
  return ztunnelAccepted('True', 'UnsupportedValue', message.slice(0, maxMessage))
}
