import type { Authorization, PolicyName } from './authorization.ts'
import { type Compiled, compile } from './compile.ts'

/** Every policy held, indexed by what it applies to. An update makes another one; a reader's stays as it was. */
export type Policies = Readonly<{
  byName: ReadonlyMap<PolicyName, Authorization>
  global: readonly Authorization[]
  byNamespace: ReadonlyMap<string, readonly Authorization[]>
  /** What was worked out before; it answers nothing that the rest does not. */
  memory: Readonly<{
    compiled: WeakMap<Authorization, Compiled>
    prepared: WeakMap<Subjected, Applicable>
  }>
}>

/** Whom policies apply to. The object is replaced, never edited, when the workload changes. */
type Subjected = Readonly<{ namespace: string; authorizationPolicies: readonly PolicyName[] }>

/** The policies that speak about one workload, ready to be asked. */
export type Applicable = Readonly<{
  policies: readonly Authorization[]
  /** Named by the workload but not received. */
  missing: readonly PolicyName[]
  enforced: Sides
  /** Reported, never enforced; undefined when there is none. */
  dryRun: Sides | undefined
  /** Tells what it matches, and that is all. */
  audit?: readonly Compiled[]
  /** Does any of them ask for an address? */
  readsAddresses: boolean
}>

export type Sides = Readonly<{ deny: readonly Compiled[]; allow: readonly Compiled[] }>

/** No policy at all. */
export const noPolicies: Policies = {
  byName: new Map(),
  global: [],
  byNamespace: new Map(),
  memory: { compiled: new WeakMap(), prepared: new WeakMap() },
}

/** The policies after an update. Costs what changed, the namespaces that it touches, and a copy of the map of names. */
export function updatePolicies(
  held: Policies,
  upserts: readonly Authorization[],
  removed: readonly PolicyName[],
): Policies {
  const byName = new Map(held.byName)
  const gone = new Set<Authorization>()
  const drop = (name: PolicyName) => {
    const old = byName.get(name)
    if (old) gone.add(old)
    byName.delete(name)
  }
  for (const name of removed) drop(name)
  for (const policy of upserts) {
    drop(policy.name)
    byName.set(policy.name, policy)
  }
  const added = [...new Set(upserts)].filter((policy) => byName.get(policy.name) === policy)
  const after = (before: readonly Authorization[], concerns: (policy: Authorization) => boolean) => [
    ...before.filter((policy) => !gone.has(policy)),
    ...added.filter(concerns),
  ]
  const byNamespace = new Map(held.byNamespace)
  for (const namespace of namespacesOf([...gone, ...added])) {
    const of = (policy: Authorization) => policy.scope === 'namespace' && policy.namespace === namespace
    const list = after(held.byNamespace.get(namespace) ?? [], of)
    if (list.length > 0) byNamespace.set(namespace, list)
    else byNamespace.delete(namespace)
  }
  return {
    byName,
    global: after(held.global, ({ scope }) => scope === 'global'),
    byNamespace,
    memory: { compiled: held.memory.compiled, prepared: new WeakMap() },
  }
}

const namespacesOf = (policies: readonly Authorization[]): Set<string> =>
  new Set(policies.filter(({ scope }) => scope === 'namespace').map(({ namespace }) => namespace))

/** The policies that speak about a workload, and the ones it names that have not been received. */
export function policiesFor(policies: Policies, workload: Subjected): Applicable {
  const { memory } = policies
  const known = memory.prepared.get(workload)
  if (known) return known
  const found = new Set([...policies.global, ...(policies.byNamespace.get(workload.namespace) ?? [])])
  const missing = new Set<PolicyName>()
  for (const name of workload.authorizationPolicies) {
    const policy = policies.byName.get(name)
    if (policy) found.add(policy)
    else missing.add(name)
  }
  const applicable = applicableOf([...found], [...missing], memory.compiled)
  memory.prepared.set(workload, applicable)
  return applicable
}

/** These policies, ready to be asked; in the order of their names, so that it does not matter which came first. */
export function applicableOf(
  policies: readonly Authorization[],
  missing: readonly PolicyName[] = [],
  compiled: WeakMap<Authorization, Compiled> = new WeakMap(),
): Applicable {
  const ordered = policies.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  const compiledOnce = (policy: Authorization) => {
    const made = compiled.get(policy) ?? compile(policy)
    compiled.set(policy, made)
    return made
  }
  const sides = (dryRun: boolean): Sides => {
    const side = (action: Authorization['action']) =>
      ordered.filter((p) => p.audit !== true && p.dryRun === dryRun && p.action === action).map(compiledOnce)
    return { deny: side('deny'), allow: side('allow') }
  }
  const audit = ordered.filter((policy) => policy.audit === true).map(compiledOnce)
  return {
    policies: ordered,
    missing,
    enforced: sides(false),
    dryRun: ordered.some((policy) => policy.dryRun && policy.audit !== true) ? sides(true) : undefined,
    ...(audit.length > 0 ? { audit } : {}),
    readsAddresses: ordered.some((policy) => compiledOnce(policy).readsAddresses),
  }
}
