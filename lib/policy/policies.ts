import type { Authorization, PolicyName } from './authorization.ts'

/** Every policy held, indexed by what it applies to. Replaced as a whole parts-wise, never edited by a reader. */
export type Policies = Readonly<{
  byName: ReadonlyMap<PolicyName, Authorization>
  global: readonly Authorization[]
  byNamespace: ReadonlyMap<string, readonly Authorization[]>
}>

/** No policy at all. */
export const noPolicies: Policies = { byName: new Map(), global: [], byNamespace: new Map() }

/** The policies after an update. */
export function updatePolicies(
  held: Policies,
  upserts: readonly Authorization[],
  removed: readonly PolicyName[],
): Policies {
  const byName = new Map(held.byName)
  for (const name of removed) byName.delete(name)
  for (const policy of upserts) byName.set(policy.name, policy)
  const byNamespace = new Map<string, Authorization[]>()
  const global: Authorization[] = []
  for (const policy of byName.values()) {
    if (policy.scope === 'global') global.push(policy)
    if (policy.scope !== 'namespace') continue
    const list = byNamespace.get(policy.namespace)
    if (list) list.push(policy)
    else byNamespace.set(policy.namespace, [policy])
  }
  return { byName, global, byNamespace }
}

/** The policies that speak about a workload, and the ones it names that have not been received. */
export function policiesFor(
  policies: Policies,
  workload: Readonly<{ namespace: string; authorizationPolicies: readonly PolicyName[] }>,
): Readonly<{ applicable: readonly Authorization[]; missing: readonly PolicyName[] }> {
  const applicable = new Set([...policies.global, ...(policies.byNamespace.get(workload.namespace) ?? [])])
  const missing: PolicyName[] = []
  for (const name of workload.authorizationPolicies) {
    const policy = policies.byName.get(name)
    if (policy) applicable.add(policy)
    else missing.push(name)
  }
  return { applicable: [...applicable], missing }
}
