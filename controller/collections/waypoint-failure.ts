import type { Fetch, Index } from '#kube'
import type { CompiledPolicy } from './authorization-policy.ts'
import type { PolicyTarget } from './policy-targets.ts'
import type { Waypoint } from './waypoints.ts'

/** The policies that only waypoints enforce, by what they are attached to. */
export type AttachedPolicies = Index<CompiledPolicy>
/** What traffic to a waypoint is for; a workload is nothing that policies are attached to. */
export type Bound = Readonly<{
  kind: 'Service' | 'ServiceEntry' | 'workload'
  namespace: string
  name: string
}>
export type FailureContext = Readonly<{ attached: AttachedPolicies; rootNamespace: string }>

const keyOf = (target: PolicyTarget, namespace: string) =>
  target.kind === 'unreadable' ? unreadableIn(namespace) : keyFor(target.kind, target.namespace, target.name)
const keyFor = (kind: string, namespace: string, name: string) => `${kind}/${namespace}/${name}`
const unreadableIn = (namespace: string) => keyFor('unreadable', namespace, '')

/** By target; what cannot be read of a target may be anything in its namespace. */
export const attachedTo = ({ namespace, targets }: CompiledPolicy): readonly string[] => [
  ...new Set(targets.map((target) => keyOf(target, namespace))),
]

/**
 * May traffic go on without its waypoints where these have nobody who takes it? Only where the owner of each wants that,
 * and there is no policy that would not be enforced then.
 */
export function mayPassBy(
  waypoints: readonly Waypoint[],
  { kind, namespace, name }: Bound,
  fetch: Fetch,
  { attached, rootNamespace }: FailureContext,
): boolean {
  if (!waypoints.every(({ failsOpen }) => failsOpen)) return false
  const asked = [
    keyFor(kind, namespace, name),
    ...[namespace, rootNamespace].map(unreadableIn),
    ...waypoints.flatMap((one) => [
      keyFor('Gateway', one.namespace, one.name),
      keyFor('GatewayClass', '', one.className),
      unreadableIn(one.namespace),
    ]),
  ]
  return asked.every((key) => fetch.by(attached, key).length === 0)
}
