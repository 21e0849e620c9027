import { isRecord } from '#base'
import type { Condition } from '#kube'
import { type Notes, shown } from './problems.ts'

/** What a policy of waypoints is attached to. */
export type PolicyTarget = ReadableTarget | Unreadable
export type ReadableTarget = Readonly<{ kind: TargetKind; namespace: string; name: string }>
type Unreadable = Readonly<{ kind: 'unreadable'; why: string }>
type TargetKind = 'Gateway' | 'GatewayClass' | 'Service' | 'ServiceEntry'

const groups: Readonly<Record<TargetKind, readonly string[]>> = {
  Gateway: ['gateway.networking.k8s.io'],
  GatewayClass: ['gateway.networking.k8s.io'],
  Service: ['', 'core'],
  ServiceEntry: ['networking.istio.io'],
}
const kindOf = (value: unknown, group: unknown): TargetKind | undefined =>
  (['Gateway', 'GatewayClass', 'Service', 'ServiceEntry'] as const).find(
    (kind) => kind === value && groups[kind].some((known) => known === group),
  )

/** Istio's own limit. */
const maxTargets = 16

/** The targets of a policy. Empty: it is one for ztunnel, or nobody can tell, which `notes` says then. */
export function targetsOf(
  { targetRef, targetRefs }: Record<string, unknown>,
  namespace: string,
  rootNamespace: string,
  notes: Notes,
): readonly PolicyTarget[] {
  if (targetRefs !== undefined && targetRefs !== null && !Array.isArray(targetRefs)) {
    notes.invalid.push(`spec.targetRefs: ${shown(targetRefs)} is not a list; taken for everything in reach`)
    return []
  }
  const list: readonly unknown[] = Array.isArray(targetRefs) ? targetRefs : []
  const single = targetRef !== undefined && targetRef !== null
  if (single && list.length > 0) notes.invalid.push('spec.targetRef: cannot stand beside targetRefs')
  const all: readonly (readonly [string, unknown])[] = [
    ...(single ? [['spec.targetRef', targetRef] as const] : []),
    ...list.slice(0, maxTargets).map((value, i) => [`spec.targetRefs[${i}]`, value] as const),
  ]
  // What is no reference at all says nothing of waypoints: a DENY must not vanish because of it.
  if (all.length > 0 && !all.some(([, value]) => isRecord(value) && typeof value['kind'] === 'string')) {
    for (const [path, value] of all)
      notes.invalid.push(`${path}: ${shown(value)} is not a reference; taken for everything in reach`)
    return []
  }
  const rest: readonly PolicyTarget[] =
    list.length > maxTargets
      ? [{ kind: 'unreadable', why: `spec.targetRefs: only the first ${maxTargets} are read` }]
      : []
  const targets = [...all.map(([path, value]) => readTarget(value, path, namespace, rootNamespace)), ...rest]
  for (const target of targets) if (target.kind === 'unreadable') notes.invalid.push(target.why)
  return targets
}

function readTarget(value: unknown, path: string, namespace: string, rootNamespace: string): PolicyTarget {
  const no = (why: string): PolicyTarget => ({ kind: 'unreadable', why: `${path}${why}` })
  if (!isRecord(value)) return no(`: ${shown(value)} is not a reference`)
  const { group = '', kind, name, namespace: given, ...rest } = value
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) return no(`.${unknown}: unknown`)
  if (typeof name !== 'string' || name === '') return no(`.name: ${shown(name)} is not a name`)
  const known = kindOf(kind, group)
  if (known === undefined)
    return no(
      `.kind: ${shown(kind)} of group ${shown(group)} cannot be a target; one of Gateway, GatewayClass, Service, ServiceEntry`,
    )
  if (given !== undefined && given !== '' && given !== namespace)
    return no(`.namespace: ${shown(given)} is not the policy's own namespace`)
  if (known === 'GatewayClass' && namespace !== rootNamespace)
    return no(`.kind: a GatewayClass can be the target in namespace ${rootNamespace} only`)
  return { kind: known, namespace: known === 'GatewayClass' ? '' : namespace, name }
}

/** What is known of one target: the waypoint that enforces a policy for it, that there is none, or that it does not exist. */
export type TargetState =
  | Readonly<{ kind: 'bound'; waypoint: string }>
  | Readonly<{ kind: 'unbound' | 'invalid'; why: string }>
  | Readonly<{ kind: 'missing' }>

/**
 * `WaypointAccepted` of a policy with targets; undefined for one without. `closed`: what is enforced more strictly than
 * written; `invalid`: what of the policy cannot be read, which is too.
 */
export function waypointCondition(
  targets: readonly PolicyTarget[],
  stateOf: (target: ReadableTarget) => TargetState,
  { closed, invalid = [] }: Readonly<{ closed?: string; invalid?: readonly string[] }> = {},
): Condition | undefined {
  if (targets.length === 0) return undefined
  const results = targets.map((target): Result => {
    if (target.kind === 'unreadable') return { reason: 'Invalid', message: target.why }
    const named = `${target.kind} ${target.namespace === '' ? '' : `${target.namespace}/`}${target.name}`
    const state = stateOf(target)
    switch (state.kind) {
      case 'bound':
        return { reason: 'Accepted', message: `bound to ${state.waypoint}` }
      case 'unbound':
        return { reason: 'AncestorNotBound', message: `${named}: ${state.why}` }
      case 'invalid':
        return { reason: 'Invalid', message: `${named}: ${state.why}` }
      case 'missing':
        return { reason: 'TargetNotFound', message: `${named} does not exist` }
    }
  })
  const unread = invalid.filter((why) => !results.some(({ message }) => message === why))
  const told = [
    ...unread,
    ...new Set(results.map((result) => result.message)),
    ...(targets.some(({ kind }) => kind === 'unreadable') ? [unreadIsAll] : []),
    ...(closed === undefined ? [] : [closed]),
  ]
  const message = told.join('; ').slice(0, maxMessage)
  if (unread.length > 0) return { type: 'WaypointAccepted', status: 'False', reason: 'Invalid', message }
  const [first = { reason: 'Invalid' as const }] = results
  const accepted = results.some(({ reason }) => reason === 'Accepted')
  const all = results.every(({ reason }) => reason === first.reason)
  if (all && first.reason === 'Accepted' && closed !== undefined)
    return { type: 'WaypointAccepted', status: 'True', reason: 'UnsupportedValue', message }
  const reason = all ? first.reason : accepted ? 'PartiallyInvalid' : worst(results)
  return { type: 'WaypointAccepted', status: accepted ? 'True' : 'False', reason, message }
}

const maxMessage = 1024
/** Istio, whose webhook refuses such a target, would enforce the policy nowhere. */
const unreadIsAll = 'a target that cannot be read is taken for everything in reach'
type Result = Readonly<{
  reason: 'Accepted' | 'Invalid' | 'AncestorNotBound' | 'TargetNotFound'
  message: string
}>
/** Of several reasons the one that needs its author first. */
const worst = (results: readonly Result[]) =>
  (['Invalid', 'TargetNotFound'] as const).find((reason) => results.some((r) => r.reason === reason)) ??
  'AncestorNotBound'
