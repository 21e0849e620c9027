import { type Service, targetPort, type Workload, type WorkloadUid } from '#mesh'
import type { DestinationPolicy, OutlierPolicy } from '#routes'
import { type Host, isEjected, leadsTheSameWay, newHost } from './host.ts'
import { hasLabels } from './levels.ts'
import { beginCounting, countOutcome, eject, forgive, mayEject, type Outcome, sweep } from './outliers.ts'
import { type Plan, planFor } from './plan.ts'
import { levelFor, loadWithout } from './priorities.ts'
import { RecentCount } from './recent-count.ts'

/** Draws for one that has not been tried yet. */
const maxDraws = 5
/** Tries after which a retry may look further away (Istio's update frequency). */
const triesPerLevel = 2

/** What an endpoint is chosen by. */
export type Wish = Readonly<{
  /** Of the request, where it is to go by that. */
  hash?: bigint | undefined
  /** Those that failed; avoided as long as there are others. */
  tried?: ReadonlySet<Host> | undefined
  /** All tries so far, where a retry may leave the localities that it has tried. */
  leaving?: readonly Host[] | undefined
}>

export type ClusterParts = Readonly<{
  /** Where we are. */
  local: () => Workload | undefined
  network: string
  random: () => number
  now: () => number
  /** What connections there are to this place lead nowhere any more, or to somebody else; see `placeOf`. */
  left?: (place: string) => void
}>

/** The endpoints of one port of a service, or of a subset of it, as this process sees them. */
export class Cluster {
  readonly #parts: ClusterParts
  readonly #hosts = new Map<WorkloadUid, Host>()
  #service: Service
  #policy: DestinationPolicy
  #plan: Plan | undefined | 'stale' = 'stale'
  #nextSweep = 0
  #planUntil = Number.POSITIVE_INFINITY
  #planLocal: Workload | undefined
  /** Requests and retries under way, which circuit breakers count; and connections of clients that are not HTTP. */
  requests = 0
  retries = 0
  connections = 0
  readonly #recent = new RecentCount()

  constructor(service: Service, policy: DestinationPolicy, parts: ClusterParts) {
    this.#service = service
    this.#policy = policy
    this.#parts = parts
  }

  get service(): Service {
    return this.#service
  }
  get policy(): DestinationPolicy {
    return this.#policy
  }
  hosts(): Iterable<Host> {
    return this.#hosts.values()
  }

  /** A request, or a try of one, is on its way. */
  began(): void {
    this.requests++
    const { retryBudget } = this.#policy
    if (retryBudget && retryBudget.intervalMs > 0) this.#recent.add(retryBudget.intervalMs, this.#parts.now())
  }

  /** What retries are measured by: the requests that are under way, or those of the policy's last while. */
  measure(): Readonly<{ retries: number; requests: number }> {
    const { requests, retries } = this
    const { intervalMs = 0 } = this.#policy.retryBudget ?? {}
    if (intervalMs === 0) return { requests, retries }
    return { retries, requests: Math.max(requests, this.#recent.count(intervalMs, this.#parts.now())) }
  }

  /** Another policy: what is known of the hosts stays, unless there are other hosts now. */
  obey(policy: DestinationPolicy): void {
    if (policy === this.#policy) return
    // Each service whose rules lead here tells it in its own words: nothing begins anew with each of their requests.
    const [now, before] = [wordsOf(policy), wordsOf(this.#policy)]
    if (now.all === before.all) return
    if (now.way !== before.way) for (const uid of this.#hosts.keys()) this.#leave(uid)
    // Other rules, other verdicts: Envoy begins anew. Without rules nobody would ever let them back.
    if (now.outliers !== before.outliers) for (const { health } of this.#hosts.values()) forgive(health)
    if (now.plan !== before.plan) this.#plan = 'stale'
    this.#policy = policy
  }

  /** The service and its members, all at once. */
  reset(service: Service, members: Iterable<Workload>): void {
    this.#service = service
    const gone = new Set(this.#hosts.keys())
    for (const workload of members) {
      this.update(workload.uid, workload)
      gone.delete(workload.uid)
    }
    for (const uid of gone) this.update(uid, undefined)
  }

  /** One member has changed or gone. */
  update(uid: WorkloadUid, workload: Workload | undefined): void {
    this.#plan = 'stale'
    const port = workload && this.#portOf(workload)
    const known = this.#hosts.get(uid)
    if (!workload || port === undefined) {
      if (this.#hosts.delete(uid)) this.#leave(uid)
      return
    }
    const isSamePlace = known?.port === port && leadsTheSameWay(known.workload, workload)
    if (known && !isSamePlace) this.#leave(uid)
    if (known?.port === port) known.workload = workload
    else this.#hosts.set(uid, newHost(workload, port, this.#parts.now()))
  }

  #leave(uid: WorkloadUid): void {
    this.#parts.left?.(placeOf(groupOf(this.#policy.destination), uid))
  }

  /** An endpoint; undefined when there is none that may be used. */
  choose(wish: Wish = {}): Host | undefined {
    const plan = this.#current()
    if (!plan) return undefined
    const { random } = this.#parts
    const { tried, hash } = wish
    const load = loadFor(plan, wish.leaving)
    let level: Plan['levels'][number] | undefined
    let found: Host | undefined
    for (let draw = 0; draw < maxDraws; draw++) {
      // Who is found by a hash is always in the same level as well.
      const point = load.length === 1 ? 0 : hash === undefined ? random() : Number(hash % 100n) / 100
      level = plan.levels[levelFor(load, point)]
      found = level?.pick(hash)
      // By hash it would be the same one again.
      if (!found || !tried?.has(found) || hash !== undefined) return found
    }
    // Who fails at once has the least to do: of two it would be chosen for ever.
    const others = level?.usable.filter((host) => !tried?.has(host)) ?? []
    return others[Math.floor(random() * others.length)] ?? found
  }

  /** What came of the host; it may be left out from now on. */
  report(host: Host, outcome: Outcome): void {
    const { outliers, labels } = this.#policy
    if (!outliers || this.#hosts.get(host.uid) !== host) return
    if (countOutcome(host.health, outcome, outliers) === 'ok' || isEjected(host)) return
    const members = [...this.#hosts.values()].filter(({ workload }) => hasLabels(workload, labels))
    const ejected = members.filter(isEjected).length
    // It is counted from the beginning, too, where no more may go (Envoy).
    if (!mayEject(ejected, members.length, outliers.maxEjectionPercent)) return beginCounting(host.health)
    eject(host, outliers, this.#parts.now())
    this.#plan = 'stale'
  }

  #portOf(workload: Workload): number | undefined {
    const isFar = workload.network !== this.#parts.network
    if (workload.capacity === 0 || (isFar && workload.networkGateway === undefined)) return undefined
    if (workload.status !== 'Healthy' && this.#service.loadBalancer.healthPolicy !== 'AllowAll')
      return undefined
    if (!isFar && workload.addresses.length === 0 && workload.hostname === '') return undefined
    return targetPort(this.#service, workload, this.#policy.destination.port, 'standard')
  }

  /** Intervals have ended since somebody asked. */
  #sweep(now: number, outliers: OutlierPolicy): void {
    const intervalMs = Math.max(1, outliers.intervalMs)
    const more = this.#nextSweep === 0 ? 0 : Math.floor((now - this.#nextSweep) / intervalMs)
    const last = this.#nextSweep === 0 ? now : this.#nextSweep + more * intervalMs
    this.#nextSweep = last + intervalMs
    if (sweep(this.#hosts.values(), { count: more + 1, last, intervalMs })) this.#plan = 'stale'
  }

  #current(): Plan | undefined {
    const now = this.#parts.now()
    const { outliers } = this.#policy
    if (outliers && now >= this.#nextSweep) this.#sweep(now, outliers)
    // Where we are may be known late.
    const local = this.#parts.local()
    if (this.#plan === 'stale' || now >= this.#planUntil || local !== this.#planLocal) {
      const { random } = this.#parts
      const parts = { service: this.#service, policy: this.#policy, local, now, random }
      this.#planLocal = local
      const { plan, until } = planFor(this.#hosts.values(), parts)
      this.#plan = plan
      this.#planUntil = until
    }
    return this.#plan
  }
}

/** A policy as text; what of it connections are made by, who is chosen, and who is ejected. */
type Words = Readonly<{ all: string; way: string; plan: string; outliers: string }>
const words = new WeakMap<DestinationPolicy, Words>()

function wordsOf(policy: DestinationPolicy): Words {
  const known = words.get(policy)
  if (known) return known
  const { tls, tunnel, proxyProtocol, outliers, labels, loadBalancer, locality, warmup, panicPercent } =
    policy
  const made = {
    all: JSON.stringify(policy),
    way: JSON.stringify([tls, tunnel, proxyProtocol]),
    plan: JSON.stringify([labels, loadBalancer, locality, warmup, panicPercent, outliers]),
    outliers: JSON.stringify([outliers]),
  }
  words.set(policy, made)
  return made
}

/** The name of a destination, whose limits count together. */
export const groupOf = ({ service, port, subset }: DestinationPolicy['destination']): string =>
  `${service}|${port}|${subset ?? ''}`

/** What connections to a host have in common, by way of whatever they were made. */
export const placeOf = (group: string, uid: WorkloadUid): string => `${group}|${uid}`

/** After every second try the levels of all tries before are left out (Envoy's previous priorities). */
function loadFor({ load, levels, health }: Plan, leaving: readonly Host[] = []): readonly number[] {
  const counted = leaving.slice(0, leaving.length - (leaving.length % triesPerLevel))
  if (counted.length === 0 || levels.length === 1) return load
  const out = new Set(counted.map((host) => levels.findIndex(({ hosts }) => hosts.includes(host))))
  return loadWithout(health, out) ?? load
}
