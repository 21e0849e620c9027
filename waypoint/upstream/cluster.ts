import { type Service, targetPort, type Workload, type WorkloadUid } from '#mesh'
import type { DestinationPolicy } from '#routes'
import { type Host, isEjected, leadsTheSameWay, newHost, weightOf } from './host.ts'
import { hasLabels, levelsOf, sharesOf } from './levels.ts'
import { countOutcome, eject, forgive, mayEject, type Outcome, sweep } from './outliers.ts'
import { type Picker, pickerOf } from './picker.ts'
import { isPanic, levelFor, loadOf } from './priorities.ts'

/** Draws for one that has not been tried yet. */
const maxDraws = 5

/** What an endpoint is chosen by. */
export type Wish = Readonly<{
  /** Of the request, where it is to go by that. */
  hash?: bigint | undefined
  /** Those that failed; avoided as long as there are others. */
  tried?: ReadonlySet<Host>
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

type Level = Readonly<{ picker: Picker; size: number }>
type Plan = Readonly<{ levels: readonly Level[]; load: readonly number[] }>

/** The endpoints of one port of a service, or of a subset of it, as this process sees them. */
export class Cluster {
  readonly #parts: ClusterParts
  readonly #hosts = new Map<WorkloadUid, Host>()
  #service: Service
  #policy: DestinationPolicy
  #plan: Plan | undefined | 'stale' = 'stale'
  #nextSweep = 0
  #planUntil = Number.POSITIVE_INFINITY
  /** Requests and retries under way, which circuit breakers count. */
  requests = 0
  retries = 0

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

  /** Another policy: what is known of the hosts stays, unless there are other hosts now. */
  obey(policy: DestinationPolicy): void {
    if (policy === this.#policy) return
    const isSameWay = JSON.stringify(wayOf(policy)) === JSON.stringify(wayOf(this.#policy))
    if (!isSameWay) for (const uid of this.#hosts.keys()) this.#leave(uid)
    this.#policy = policy
    this.#plan = 'stale'
    // Nobody would ever let them back.
    if (!policy.outliers) for (const { health } of this.#hosts.values()) forgive(health)
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
    let found: Host | undefined
    for (let draw = 0; draw < maxDraws; draw++) {
      const level = plan.levels[levelFor(plan.load, plan.load.length === 1 ? 0 : random())]
      found = level?.picker(hash)
      // By hash it would be the same one again.
      if (!found || !tried?.has(found) || hash !== undefined) return found
    }
    return found
  }

  /** What came of the host; it may be left out from now on. */
  report(host: Host, outcome: Outcome): void {
    const { outliers } = this.#policy
    if (!outliers || this.#hosts.get(host.uid) !== host) return
    if (countOutcome(host.health, outcome, outliers) === 'ok' || isEjected(host)) return
    const ejected = [...this.#hosts.values()].filter(isEjected).length
    if (!mayEject(ejected, this.#hosts.size, outliers.maxEjectionPercent)) return
    eject(host, outliers, this.#parts.now())
    this.#plan = 'stale'
  }

  #portOf(workload: Workload): number | undefined {
    if (workload.capacity === 0 || workload.network !== this.#parts.network) return undefined
    if (workload.status !== 'Healthy' && this.#service.loadBalancer.healthPolicy !== 'AllowAll')
      return undefined
    if (workload.addresses.length === 0 && workload.hostname === '') return undefined
    return targetPort(this.#service, workload, this.#policy.destination.port, 'standard')
  }

  #current(): Plan | undefined {
    const now = this.#parts.now()
    const { outliers } = this.#policy
    if (outliers && now >= this.#nextSweep) {
      this.#nextSweep = now + outliers.intervalMs
      if (sweep(this.#hosts.values(), now)) this.#plan = 'stale'
    }
    if (this.#plan === 'stale' || now >= this.#planUntil) this.#plan = this.#makePlan(now)
    return this.#plan
  }

  #makePlan(now: number): Plan | undefined {
    const { labels, locality, loadBalancer, panicPercent, outliers, warmup } = this.#policy
    const ofSubset = [...this.#hosts.values()].filter(({ workload }) => hasLabels(workload, labels))
    const local = this.#parts.local()
    const byAge = warmup ? warming(warmup, now) : weightOf
    const shares = locality.kind === 'distribute' ? sharesOf(ofSubset, locality, local, byAge) : undefined
    const members = shares ? ofSubset.filter((host) => shares.has(host)) : ofSubset
    const weigh = shares ? (host: Host) => shares.get(host) ?? 0 : byAge
    // Without outlier detection nobody can tell that a locality is ill (Istio).
    const levels = levelsOf(members, locality, this.#service.loadBalancer, local, outliers !== undefined)
    const isWarming = warmup && members.some(({ since }) => now - since < warmup.durationMs)
    this.#planUntil = isWarming ? now + warmupStepMs : Number.POSITIVE_INFINITY
    const counts = levels.map((hosts) => ({
      healthy: hosts.filter((host) => !isEjected(host)).length,
      total: hosts.length,
    }))
    const panics = counts.map((count) => isPanic(count, panicPercent))
    const load = loadOf(
      counts.map((count, i) => (panics[i] ? { healthy: count.total, total: count.total } : count)),
    )
    if (!load) return undefined
    const usable = levels.map((hosts, i) => (panics[i] ? hosts : hosts.filter((host) => !isEjected(host))))
    const { random } = this.#parts
    return {
      load,
      levels: usable.map((hosts) => ({
        picker: pickerOf(loadBalancer, hosts, weigh, random),
        size: hosts.length,
      })),
    }
  }
}

/** What of a policy a connection is made by. */
const wayOf = ({ tls, tunnel, proxyProtocol }: DestinationPolicy) => [tls, tunnel, proxyProtocol]

/** The name of a destination, whose limits count together. */
export const groupOf = ({ service, port, subset }: DestinationPolicy['destination']): string =>
  `${service}|${port}|${subset ?? ''}`

/** What connections to a host have in common, by way of whatever they were made. */
export const placeOf = (group: string, uid: WorkloadUid): string => `${group}|${uid}`

/** How often weights of hosts that are warming up are looked at. */
const warmupStepMs = 1_000

/** The weight of a host that is new grows with time (facts: l7.md §3.5, slow start). */
export const warming =
  ({ durationMs, minimumPercent, aggression }: NonNullable<DestinationPolicy['warmup']>, now: number) =>
  (host: Host): number => {
    const age = now - host.since
    if (age >= durationMs) return weightOf(host)
    const grown = (age / durationMs) ** (1 / aggression)
    return weightOf(host) * Math.max(minimumPercent / 100, grown)
  }
