import { messageOf } from '#base'
import {
  type Collection,
  type Condition,
  type Custom,
  derive,
  deriveMany,
  type Fetch,
  fixed,
  type Index,
  join,
  type Pod,
  type Traceable,
} from '#kube'
import type { Logger } from '#telemetry'
import type { security } from '#wire'
import { closedPolicy, type CompiledPolicy, compilePolicy, nameOfPolicy } from './authorization-policy.ts'
import { isSubset, nameOf, namespaceOf } from './inputs.ts'
import {
  oldest,
  peerCondition,
  type PeerMode,
  readPeerMode,
  type Requirement,
  requirementOf,
  strictName,
  strictPolicy,
} from './peer-authentication.ts'
import { waypointCondition } from './policy-targets.ts'
import type { Settings } from './settings.ts'
import { type TargetContext, targetState } from './target-state.ts'
import { waypointAllowances } from './waypoint-allowances.ts'

export type Policies = Readonly<{
  /** Every policy that ztunnel is told, by `namespace/name`. */
  authorizations: Collection<security.Authorization>
  /** One row per AuthorizationPolicy, with what its status shall say. */
  compiled: Collection<CompiledPolicy>
  peerModes: Collection<PeerMode>
  /** What the status of each AuthorizationPolicy and PeerAuthentication shall say, by its key. */
  policyConditions: Collection<readonly Condition[]>
  peerConditions: Collection<readonly Condition[]>
  /** Keys of the policies that a pod must name, in order. */
  policiesOf: (pod: Pod, fetch: Fetch) => readonly string[]
  /** All of these and what is between; for those who look into a running controller. */
  steps: readonly Traceable[]
}>

type PeerLevels = Readonly<{ byNamespace: Index<PeerMode>; rootNamespace: string }>

export function policiesFrom(
  context: TargetContext & Readonly<{ settings: Settings }>,
  options: Readonly<{ log?: Logger }>,
): Policies {
  const { inputs, ours, settings, waypoints } = context
  const compiled = derive(
    'CompiledPolicies',
    ours.authorizationPolicies,
    (policy) => compileSafely(policy, settings, options.log),
    options,
  )
  const peerModes = derive('PeerModes', ours.peerAuthentications, readPeerMode, options)
  const levels = {
    byNamespace: peerModes.indexBy(({ namespace }) => [namespace]),
    rootNamespace: settings.rootNamespace,
  }
  const selecting = compiled.indexBy(({ namespace, selector }) => (selector ? [namespace] : []))
  const written = derive('WrittenAuthorizations', compiled, ({ authorization }) => authorization, options)
  const converted = deriveMany(
    'ConvertedPeerAuthentications',
    peerModes,
    (own, fetch) => {
      const { namespace } = own
      const required =
        own.selector && namespace !== settings.rootNamespace
          ? requirement(own, namespace, fetch, levels)
          : none
      return required.kind === 'own' ? [required.authorization] : []
    },
    { ...options, keyOf: nameOfPolicy },
  )
  const ofSettings = fixed('Settings', { settings })
  const strict = deriveMany(
    'StaticStrict',
    ofSettings,
    (s, fetch) => (fetch(peerModes).length > 0 ? [strictPolicy(s)] : []),
    { ...options, keyOf: nameOfPolicy },
  )
  const allowances = waypointAllowances(inputs, waypoints, settings)
  const parts = [written, converted, strict, allowances]
  const authorizations = join('Authorizations', parts)
  const conditions = conditionsOf(compiled, peerModes, levels, context, options)
  return {
    authorizations,
    compiled,
    peerModes,
    ...conditions,
    steps: [ofSettings, compiled, peerModes, ...parts, authorizations, ...Object.values(conditions)],
    policiesOf: (pod, fetch) => {
      const named = selectedBy(pod, fetch, selecting, settings.rootNamespace)
      return [...named, ...peerPolicyOf(pod, fetch, levels)].sort()
    },
  }
}

/** What the status of each policy shall say. */
const conditionsOf = (
  compiled: Collection<CompiledPolicy>,
  peerModes: Collection<PeerMode>,
  levels: PeerLevels,
  context: TargetContext,
  options: Readonly<{ log?: Logger }>,
) => ({
  policyConditions: derive<CompiledPolicy, readonly Condition[]>(
    'PolicyConditions',
    compiled,
    ({ targets, condition, closed, invalid }, fetch) =>
      [
        condition,
        waypointCondition(targets, (target) => targetState(target, fetch, context), {
          invalid,
          ...(closed === undefined ? {} : { closed }),
        }),
      ].filter((one) => one !== undefined),
    options,
  ),
  peerConditions: derive<PeerMode, readonly Condition[]>(
    'PeerConditions',
    peerModes,
    (own, fetch) => [peerCondition(own, widePeers(own.namespace, fetch, levels), levels.rootNamespace)],
    options,
  ),
})

const none: Requirement = { kind: 'none' }

/** A policy that we fail on must not be a policy that is missing: it is closed, and only it. */
function compileSafely(policy: Custom, settings: Settings, log: Logger | undefined): CompiledPolicy {
  try {
    return compilePolicy(policy, settings)
  } catch (error) {
    const key = `${namespaceOf(policy)}/${nameOf(policy)}`
    log?.error('bug: a policy cannot be compiled', { policy: key, error: messageOf(error) })
    return closedPolicy(policy, settings)
  }
}

/** A selector reaches over its own namespace; in the root namespace over all. */
function selectedBy(
  pod: Pod,
  fetch: Fetch,
  selecting: Index<CompiledPolicy>,
  root: string,
): readonly string[] {
  const own = namespaceOf(pod)
  const reach = own === root ? [own] : [own, root]
  return reach
    .flatMap((namespace) => fetch.by(selecting, namespace))
    .filter(({ selector = {} }) => isSubset(selector, pod.metadata.labels))
    .map(({ key }) => key)
}

/** The strict policies that a pod's effective mode asks for. A selector in the root namespace selects nothing (Istio). */
function peerPolicyOf(pod: Pod, fetch: Fetch, levels: PeerLevels): readonly string[] {
  const namespace = namespaceOf(pod)
  const own =
    namespace === levels.rootNamespace
      ? undefined
      : oldest(
          fetch
            .by(levels.byNamespace, namespace)
            .filter(({ selector }) => selector !== undefined && isSubset(selector, pod.metadata.labels)),
        )
  const required = requirement(own, namespace, fetch, levels)
  switch (required.kind) {
    case 'none':
      return []
    case 'strict':
      return [`${levels.rootNamespace}/${strictName}`]
    case 'own':
      return [nameOfPolicy(required.authorization)]
  }
}

function requirement(
  own: PeerMode | undefined,
  namespace: string,
  fetch: Fetch,
  levels: PeerLevels,
): Requirement {
  const wide = (of: string) => oldest(widePeers(of, fetch, levels))
  return requirementOf(own, wide(namespace), wide(levels.rootNamespace))
}

/** Those of a namespace that are about all of it. */
const widePeers = (namespace: string, fetch: Fetch, { byNamespace }: PeerLevels): readonly PeerMode[] =>
  fetch.by(byNamespace, namespace).filter(({ selector }) => selector === undefined)
