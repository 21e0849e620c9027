import type { Fetch, Index, KubeObject } from '#kube'
import type { workload } from '#wire'
import type { CompiledPolicy } from './authorization-policy.ts'
import { nameOf, namespaceOf } from './inputs.ts'
import type { PolicyTarget } from './policy-targets.ts'
import { shown } from './problems.ts'
import { annotations } from './settings.ts'
import type { Unbound } from './waypoint-binding.ts'
import { hbonePort, type Waypoint } from './waypoints.ts'

/** The policies that only waypoints enforce, by what they are attached to. */
type AttachedPolicies = Index<CompiledPolicy>
/** What traffic to a waypoint is for; a workload is nothing that policies are attached to. */
export type BoundKind = 'Service' | 'ServiceEntry' | 'workload'
export type FailureContext = Readonly<{
  attached: AttachedPolicies
  rootNamespace: string
  domain: string
}>

type Asked = Readonly<{
  kind: BoundKind
  object: KubeObject
  /** Whose label names the waypoint: the object, or its namespace. */
  level: KubeObject | undefined
}>
type Place = Pick<Waypoint, 'namespace' | 'name' | 'className'>

const keyOf = (target: PolicyTarget, namespace: string) =>
  target.kind === 'unreadable' ? unreadableIn(namespace) : keyFor(target.kind, target.namespace, target.name)
const keyFor = (kind: string, namespace: string, name: string) => `${kind}/${namespace}/${name}`
const unreadableIn = (namespace: string) => keyFor('unreadable', namespace, '')

/** By target; what cannot be read of a target may be anything in its namespace. */
export const attachedTo = ({ namespace, targets }: CompiledPolicy): readonly string[] => [
  ...new Set(targets.map((target) => keyOf(target, namespace))),
]

/** The key of a policy that is not enforced where traffic goes without these waypoints; undefined when there is none. */
function policyFor(
  { kind, object }: Asked,
  places: readonly Place[],
  fetch: Fetch,
  { attached, rootNamespace }: FailureContext,
): string | undefined {
  const namespace = namespaceOf(object)
  const keys = [
    keyFor(kind, namespace, nameOf(object)),
    ...[namespace, rootNamespace].map(unreadableIn),
    ...places.flatMap((place) => [
      keyFor('Gateway', place.namespace, place.name),
      keyFor('GatewayClass', '', place.className),
      unreadableIn(place.namespace),
    ]),
  ]
  for (const key of keys) {
    const [policy] = fetch.by(attached, key)
    if (policy) return policy.key
  }
  return undefined
}

const wordOf = (level: KubeObject | undefined) => level?.metadata.annotations?.[annotations.failOpen]

/** What whoever wrote the annotation is told where it says nothing that we know; it is closed then. */
export function wordProblem(
  level: KubeObject | undefined,
  waypoint: Waypoint | undefined,
): string | undefined {
  const said = (word: string, where: string, known: string) =>
    `annotation ${annotations.failOpen} of ${where}: ${shown(word)} is not known (${known}), so it is closed`
  const word = wordOf(level)
  if (word !== undefined && !['true', 'false', 'always'].includes(word))
    return said(word, 'the Service or its namespace', 'true, false, always')
  const { failOpenWord = 'false' } = waypoint ?? {}
  if (failOpenWord === 'true' || failOpenWord === 'false') return undefined
  return said(failOpenWord, 'the waypoint', 'true, false; always only beside the label that names it')
}

/**
 * May traffic go on without its waypoints where these have nobody who takes it? Only where whoever binds it, or else the
 * owner of each, wants that; and past policies only where it is wanted `always`.
 */
export function mayPassBy(
  waypoints: readonly Waypoint[],
  asked: Asked,
  fetch: Fetch,
  context: FailureContext,
): boolean {
  const word = wordOf(asked.level)
  if (word === 'always') return true
  // Whoever binds it has the last word, also one that nobody knows.
  const isWanted =
    word === undefined ? waypoints.every((one) => one.failOpenWord === 'true') : word === 'true'
  if (!isWanted) return false
  return policyFor(asked, waypoints, fetch, context) === undefined
}

/** What class a Gateway that does not exist would have had. */
const usualClass = 'istio-waypoint'

/** Why traffic is refused while the waypoint that it asks for does not exist: a policy would not be enforced. */
export function refusedFor(
  { reference, reason }: Unbound,
  asked: Asked,
  fetch: Fetch,
  context: FailureContext,
): Readonly<{ policy: string; destination: workload.GatewayAddress }> | undefined {
  // Istio lets it go on at L4, which is what `always` asks for.
  if (reason !== 'WaypointIsNotReady' || wordOf(asked.level) === 'always') return undefined
  const [namespace = '', name = ''] = reference.split('/')
  const policy = policyFor(asked, [{ namespace, name, className: usualClass }], fetch, context)
  if (policy === undefined) return undefined
  // No host has such a name, whatever Services and ServiceEntries there are: nobody can stand in for the waypoint.
  const hostname = `${name}.${namespace}.svc.${context.domain} (not ready)`
  const destination = { $case: 'hostname' as const, value: { namespace, hostname } }
  return { policy, destination: { destination, hboneMtlsPort: hbonePort } }
}
