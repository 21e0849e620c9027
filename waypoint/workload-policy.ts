import type { Ip, SocketAddress } from '#base'
import { partsOf, type SpiffeId } from '#identity'
import type { MeshState, Workload } from '#mesh'
import {
  type Applicable,
  applicableOf,
  type Authorization,
  type Connection,
  decide,
  explainDecision,
  type Match,
  policiesFor,
  type Rule,
} from '#policy'

/** Who asks for something, as its certificate and its address tell. */
export type Asker = Readonly<{ peer: SpiffeId; remote: SocketAddress }>

/** `left-to-us`: its owner lets in whom we let in, by what he has said of that. */
type Judgement = Readonly<{ kind: 'allowed' | 'left-to-us' } | { kind: 'refused'; by: string }>
const allowed: Judgement = { kind: 'allowed' }
const leftToUs: Judgement = { kind: 'left-to-us' }

/**
 * The policies of the workloads that we send to. Their own proxies see us and no longer who asks, so they are asked about
 * that here, before anything is sent; beyond what Istio does, whose waypoints lend everybody their name.
 */
export class WorkloadPolicies {
  readonly #state: MeshState
  readonly #own: Readonly<{ identity: SpiffeId; address: Ip }>
  /** What of a workload's policies is about us. */
  readonly #left = new WeakMap<Applicable, LeftToUs>()

  constructor(state: MeshState, own: Readonly<{ identity: SpiffeId; address: Ip }>) {
    this.#state = state
    this.#own = own
  }

  /** What applies to a workload now; the same object as long as nothing changes. */
  applicableTo(workload: Workload): Applicable {
    return policiesFor(this.#state.policies, workload)
  }

  /**
   * May anything be sent to a workload for who asks? Anybody can list an endpoint at the address of somebody else's pod
   * (ServiceEntry, WorkloadEntry): the pod's own policies hold there, and what they leave to us they leave to its own.
   */
  judge(workload: Workload, destination: SocketAddress, asker: Asker): Judgement {
    const there = this.#state.workloadAt(workload.network, destination.address)
    // Of pods alone it is sure whose an address is.
    const isOthers = there && there.uid !== workload.uid && there.uid.includes('//Pod/')
    if (!isOthers) return this.#judge(workload, destination, asker)
    const judgement = this.#judge(there, destination, asker)
    if (judgement.kind === 'left-to-us' && there.namespace !== workload.namespace)
      return { kind: 'refused', by: `${there.namespace}/${there.name} is not of ${workload.namespace}` }
    return judgement.kind === 'allowed' ? this.#judge(workload, destination, asker) : judgement
  }

  #judge(workload: Workload, destination: SocketAddress, { peer, remote }: Asker): Judgement {
    // Nobody enforces them where there is no proxy.
    if (workload.protocol !== 'HBONE') return allowed
    const applicable = this.applicableTo(workload)
    if (applicable.policies.length === 0 && applicable.missing.length === 0) return allowed
    const connection = { source: remote.address, peer, destination }
    const decision = decide(applicable, connection)
    if (decision.verdict === 'allow') return allowed
    if (this.#isLeftToUs(applicable, connection)) return leftToUs
    const by = 'considered' in decision ? decision.considered.join(',') : decision.by
    return { kind: 'refused', by: by === '' ? explainDecision(decision) : by }
  }

  /**
   * A rule that allows us by name, or denies everybody but us, says that whoever we let through may come: how users make
   * everything go through a waypoint.
   */
  #isLeftToUs(applicable: Applicable, asked: Connection): boolean {
    const { identity, address } = this.#own
    const known = this.#left.get(applicable)
    const { naming, others } = known ?? leftTo(identity, applicable)
    if (!known) this.#left.set(applicable, { naming, others })
    const decision = decide(others, asked)
    if (decision.verdict === 'allow') return true
    const own: Connection = { ...asked, source: address, peer: identity }
    const isNamed = naming.enforced.allow.length > 0 && decide(naming, own).verdict === 'allow'
    return decision.by === 'nothing-allowed' && isNamed
  }
}

/** What of a workload's policies allows us by name, and all of them without what denies everybody but us. */
type LeftToUs = Readonly<{ naming: Applicable; others: Applicable }>

const leftTo = (id: SpiffeId, { policies, missing }: Applicable): LeftToUs => ({
  naming: applicableOf(policies.flatMap((policy) => rulesNaming(policy, id))),
  others: applicableOf(
    policies.map((policy) =>
      policy.action === 'deny'
        ? { ...policy, rules: policy.rules.filter((rule) => !spares(rule, id)) }
        : policy,
    ),
    missing,
  ),
})

const spares = (rule: Rule, id: SpiffeId): boolean =>
  rule.some((clause) => clause.length > 0 && clause.every((match) => names(match, id, 'none')))

/** The policy with only those of its rules that name this very account; a namespace or `*` names nobody. */
function rulesNaming(policy: Authorization, id: SpiffeId): readonly Authorization[] {
  if (policy.action !== 'allow') return []
  const rules = policy.rules.flatMap((rule) => ruleNaming(rule, id))
  return rules.length === 0 ? [] : [{ ...policy, rules }]
}

function ruleNaming(rule: Rule, id: SpiffeId): readonly Rule[] {
  const clauses = rule.map((clause) => ({
    clause,
    naming: clause.filter((match) => names(match, id, 'any')),
  }))
  if (clauses.every(({ naming }) => naming.length === 0)) return []
  return [clauses.map(({ clause, naming }) => (naming.length > 0 ? naming : clause))]
}

function names(match: Match, id: SpiffeId, among: 'any' | 'none'): boolean {
  if (typeof match === 'string') return false
  const { namespace, serviceAccount } = partsOf(id)
  const account = `/ns/${namespace}/sa/${serviceAccount}`
  return (
    match.principals[among].some(
      (text) => (text.kind === 'exact' || text.kind === 'suffix') && text.value.endsWith(account),
    ) ||
    match.serviceAccounts[among].some(
      (one) => one.namespace === namespace && one.serviceAccount === serviceAccount,
    )
  )
}
