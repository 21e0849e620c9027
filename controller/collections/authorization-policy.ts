import { isRecord } from '#base'
import type { Condition, Custom } from '#kube'
import { auditPolicy } from '#policy'
import { security } from '#wire'
import { nameOf, namespaceOf } from './inputs.ts'
import { unsupported, waypointLimits, ztunnelCondition } from './policy-conditions.ts'
import { readRules, type ReadRules } from './policy-rules.ts'
import { targetsOf, type PolicyTarget } from './policy-targets.ts'
import { newNotes, type Notes, shown } from './problems.ts'
import { annotations, type Settings } from './settings.ts'
import { underAllNames } from './trust-domains.ts'

/** What became of an AuthorizationPolicy: what ztunnel is told, whom it concerns, and what its status shall say. */
export type CompiledPolicy = Readonly<{
  key: string
  namespace: string
  /** Undefined when nothing of it is for ztunnel. */
  authorization: security.Authorization | undefined
  /** Of the workloads that must name it; undefined when its scope says it all. */
  selector: Readonly<Record<string, string>> | undefined
  /** What it is attached to, where that is not ztunnel. */
  targets: readonly PolicyTarget[]
  /** What waypoints are told of it: as far as L4 goes, stricter where it would take more. */
  targeted?: security.Authorization
  /** Which of it waypoints enforce more strictly than it is written. */
  closed?: string
  /** What ztunnel makes of it; undefined when it is for waypoints only. */
  condition: Condition | undefined
  /** What cannot be read, by path. */
  invalid: readonly string[]
}>

/** The xDS name of a policy. */
export const nameOfPolicy = ({ namespace, name }: security.Authorization): string => `${namespace}/${name}`

const { Action, Scope } = security
const fields = ['action', 'provider', 'rules', 'selector', 'targetRef', 'targetRefs']

/**
 * AuthorizationPolicy → the L4 form. Whatever ztunnel cannot enforce, or nobody can understand, makes the policy
 * stricter: an ALLOW rule with such a part matches nothing, a DENY rule loses the part and so denies more (Istio lets
 * a clause with only L7 parts fall inert; we do not).
 */
export function compilePolicy(policy: Custom, settings: Settings): CompiledPolicy {
  const notes = newNotes()
  const namespace = namespaceOf(policy)
  const spec = isRecord(policy.spec) ? policy.spec : {}
  if (policy.spec !== undefined && !isRecord(policy.spec)) notes.invalid.push('spec is not an object')
  for (const field of Object.keys(spec))
    if (!fields.includes(field)) notes.invalid.push(`spec.${field}: unknown; one of ${fields.join(', ')}`)
  const targets = targetsOf(spec, namespace, settings.rootNamespace, notes)
  const selector = selectorOf(spec, targets, notes)
  const spoilt = notes.invalid.length > 0
  const asked = spec['action'] ?? 'ALLOW'
  const rules = readRules(asked, spec['rules'], spoilt, notes, namespace)
  const row = { key: `${namespace}/${nameOf(policy)}`, namespace, targets, invalid: notes.invalid }
  const none = { ...row, authorization: undefined, selector: undefined }
  const dryRun = policy.metadata.annotations?.[annotations.dryRun] === 'true'
  if (targets.length > 0) {
    const of = { name: nameOf(policy), namespace, scope: Scope.WORKLOAD_SELECTOR, dryRun }
    const closed = waypointLimits(asked, rules)
    return {
      ...none,
      condition: undefined,
      targeted: authorizationOf(rules, of, settings),
      ...(closed ? { closed } : {}),
    }
  }
  if (dryRun && !settings.dryRunPolicies && asked !== 'AUDIT')
    return { ...none, condition: unsupported('dry-run policies are not enabled; this one is ignored') }
  const scope = selector
    ? Scope.WORKLOAD_SELECTOR
    : namespace === settings.rootNamespace
      ? Scope.GLOBAL
      : Scope.NAMESPACE
  const authorization = authorizationOf(rules, { name: nameOf(policy), namespace, scope, dryRun }, settings)
  return { ...row, authorization, selector, condition: ztunnelCondition(asked, rules, notes) }
}

function authorizationOf(
  { as, rules }: ReadRules,
  of: Pick<security.Authorization, 'name' | 'namespace' | 'scope' | 'dryRun'>,
  settings: Settings,
): security.Authorization {
  const action = as === 'DENY' ? Action.DENY : Action.ALLOW
  const authorization = { ...of, action, rules: [...underAllNames(rules, settings)], extensions: [] }
  return as === 'AUDIT' ? auditPolicy(authorization) : authorization
}

/** What stands for a policy that we fail on: within its reach nothing is allowed by it. */
export function closedPolicy(policy: Custom, settings: Settings): CompiledPolicy {
  const { annotations: _, ...metadata } = policy.metadata
  return compilePolicy({ metadata, spec: { selector: 'not read' } }, settings)
}

/** Undefined: everybody in reach. A selector that cannot be read selects everybody, and then nothing may be allowed by it. */
function selectorOf(
  { selector }: Record<string, unknown>,
  targets: readonly PolicyTarget[],
  notes: Notes,
): CompiledPolicy['selector'] {
  if (selector === undefined || selector === null) return undefined
  if (targets.length > 0) {
    notes.invalid.push('spec.selector: cannot stand beside targetRefs; not looked at')
    return undefined
  }
  const labels = labelsOf(selector)
  if (labels === undefined)
    notes.invalid.push(`spec.selector: ${shown(selector)} cannot be read; taken for everything in reach`)
  return labels && Object.keys(labels).length > 0 ? labels : undefined
}

/** The labels that a selector of Istio's wants; undefined when it cannot be read. */
export function labelsOf(selector: unknown): Readonly<Record<string, string>> | undefined {
  const { matchLabels = {}, ...rest } = isRecord(selector) ? selector : { unreadable: selector }
  if (!isRecord(matchLabels) || Object.keys(rest).length > 0) return undefined
  const entries = Object.entries(matchLabels)
  return entries.every((entry): entry is [string, string] => typeof entry[1] === 'string')
    ? Object.fromEntries(entries)
    : undefined
}
