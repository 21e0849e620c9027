import { Bag, type Place, type SocketAddress } from '#base'
import type { MeshState, Workload } from '#mesh'
import type { Applicable } from '#policy'
import { nameOf, serviceNameOf, type Through, type Touched, type WaypointPolicies } from './policy.ts'
import type { Accepted } from './target/index.ts'
import type { Asker, WorkloadPolicies } from './workload-policy.ts'

/** Work of judging again in one turn of the loop: traffic waits no longer than this, however much is open. */
const sliceMs = 5
/** Looked at between two looks at the clock. */
const batch = 64
/** Ending costs much more than judging, and most of that comes after the turn's own work. */
const maxEndsPerSlice = 50
/** A burst of pushes about workloads is one look at those that are in use. */
const lookMs = 50

/** Something that is open because policies allow it: a request, or a TCP connection. */
export type Permitted = Readonly<{
  asker: Asker
  target: Accepted
  /** Ends it: it is not allowed any more. */
  revoke(by: string): void
  /** Of what may not stand still for ever: a number that changes whenever something moves, and what ends it when nothing has. */
  stream?: Readonly<{ moved(): number; stalled(): void }> | undefined
}>

type Asked = Pick<Permitted, 'asker' | 'target'>

/** Where it has gone. */
type Reached = Readonly<{ workload: Workload; to: SocketAddress; through: Through | undefined }>

/** That something is open. Closing it is all that has to be done when it ends by itself. */
export class Permit {
  readonly what: Permitted
  readonly #permits: Permits
  #reached: Reached | undefined
  #over = false
  /** Among those of its service and of its workload. */
  atService: Place<Permit> | undefined
  atWorkload: Place<Permit> | undefined

  constructor(what: Permitted, permits: Permits) {
    this.what = what
    this.#permits = permits
  }

  get reached(): Reached | undefined {
    return this.#reached
  }

  /**
   * It goes to this workload, as that is now; why the workload's policies refuse that, undefined if they do not. Noted
   * first, so that no change falls in between. `through`: the service that a route has led to.
   */
  reach(workload: Workload, to: SocketAddress, through?: Through): string | undefined {
    this.#permits.left(this)
    this.#reached = { workload, to, through }
    if (!this.#over) this.#permits.arrived(this)
    return this.#permits.refusalAt(this.#reached, this.what)
  }

  close(): void {
    if (this.#over) return
    this.#over = true
    this.#permits.closed(this)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** Those that go to one workload, and by what they were judged last; `routes`: names of other services than they were for. */
type AtWorkload = {
  workload: Workload
  judgedBy: Applicable
  readonly open: Bag<Permit>
  readonly routes: Set<string>
}

/** What is open, by what it is for and where it goes; what policies allow no more is ended. */
export class Permits {
  readonly #state: MeshState
  readonly #policies: WaypointPolicies
  readonly #workloadPolicies: WorkloadPolicies
  readonly #byService = new Map<string, Bag<Permit>>()
  readonly #byWorkload = new Map<string, AtWorkload>()
  /** What is being judged again, and how far that is. */
  readonly #due = new Map<Bag<Permit>, Iterator<Permit>>()
  readonly #listening: readonly Disposable[]
  #looking: NodeJS.Timeout | undefined
  /** How far a look is that takes several turns. */
  #looked: Iterator<AtWorkload> | undefined
  #changed = false
  #running = false

  constructor(state: MeshState, policies: WaypointPolicies, workloadPolicies: WorkloadPolicies) {
    this.#state = state
    this.#policies = policies
    this.#workloadPolicies = workloadPolicies
    this.#listening = [
      policies.onChange((touched) => this.#onTouched(touched)),
      state.onChange(() => this.#onState()),
    ]
  }

  /** To be called before the first verdict, so that no change of policies falls in between. */
  open(what: Permitted): Permit {
    const permit = new Permit(what, this)
    const key = serviceNameOf(what.target)
    const open = this.#byService.get(key) ?? new Bag<Permit>()
    if (open.size === 0) this.#byService.set(key, open)
    permit.atService = open.add(permit)
    return permit
  }

  /** Why it may not be open, by the policies of now. */
  refusal({ what, reached }: Permit): string | undefined {
    return (
      this.#policies.refusal(what.target, what.asker) ??
      (reached && this.refusalAt({ ...reached, workload: this.#now(reached.workload) }, what))
    )
  }

  /**
   * Why nothing may be sent to a workload for who asks. Whose owner leaves that to us means by what he has said about his
   * service: somebody else's route to it, through us, is no way past that (Istio's waypoints ask about what was called only).
   */
  refusalAt({ workload, to, through }: Reached, { target, asker }: Asked): string | undefined {
    const judgement = this.#workloadPolicies.judge(workload, to, asker)
    if (judgement.kind === 'refused') return judgement.by
    if (judgement.kind === 'allowed' || !through || isWhatWasAsked(target, through)) return undefined
    return this.#policies.refusalOf(through, to, asker)
  }

  closed(permit: Permit): void {
    const key = serviceNameOf(permit.what.target)
    const open = this.#byService.get(key)
    if (open && permit.atService) open.delete(permit.atService)
    if (open?.size === 0) this.#byService.delete(key)
    this.left(permit)
  }

  arrived(permit: Permit): void {
    const { reached } = permit
    // Nobody judges for those that have no proxy.
    if (reached?.workload.protocol !== 'HBONE') return
    const { workload, through } = reached
    const at = this.#byWorkload.get(workload.uid) ?? this.#newAt(workload)
    permit.atWorkload = at.open.add(permit)
    if (through && !isWhatWasAsked(permit.what.target, through)) at.routes.add(nameOf(through.service))
  }

  #newAt(workload: Workload): AtWorkload {
    const judgedBy = this.#workloadPolicies.applicableTo(workload)
    const at = { workload, judgedBy, open: new Bag<Permit>(), routes: new Set<string>() }
    this.#byWorkload.set(workload.uid, at)
    return at
  }

  left(permit: Permit): void {
    const uid = permit.reached?.workload.uid
    const at = uid === undefined ? undefined : this.#byWorkload.get(uid)
    if (uid === undefined || !at || !permit.atWorkload) return
    at.open.delete(permit.atWorkload)
    permit.atWorkload = undefined
    if (at.open.size === 0) this.#byWorkload.delete(uid)
  }

  *all(): Generator<Permit, void> {
    for (const open of this.#byService.values()) yield* open
  }

  /** A workload that was replaced is judged as what it is now; one that is gone as what it was last. */
  #now(workload: Workload): Workload {
    const [address] = workload.addresses
    const found = address && this.#state.workloadAt(workload.network, address)
    return found && found.uid === workload.uid ? found : workload
  }

  #onState(): void {
    // Those that were looked at before the change are looked at again.
    if (this.#looked) this.#changed = true
    else if (this.#byWorkload.size > 0) this.#lookIn(lookMs)
  }

  #onTouched(touched: Touched): void {
    if (touched === 'everything') for (const open of this.#byService.values()) this.#judge(open)
    else {
      for (const name of touched) {
        const open = this.#byService.get(name)
        if (open) this.#judge(open)
      }
      for (const { open, routes } of this.#byWorkload.values())
        if (!routes.isDisjointFrom(touched)) this.#judge(open)
    }
    this.#judgeDue()
  }

  /** Which workloads have other policies than those that their permits were judged by? */
  #look(): void {
    const until = performance.now() + sliceMs
    this.#looking = undefined
    this.#looked ??= this.#byWorkload.values()
    for (let next = this.#looked.next(); !next.done; next = this.#looked.next()) {
      const at = next.value
      at.workload = this.#now(at.workload)
      const applicable = this.#workloadPolicies.applicableTo(at.workload)
      if (!same(applicable, at.judgedBy)) this.#judge(at.open)
      at.judgedBy = applicable
      if (performance.now() >= until) return this.#lookIn(0)
    }
    this.#looked = undefined
    if (this.#changed) this.#lookIn(lookMs)
    this.#changed = false
    this.#judgeDue()
  }

  #lookIn(ms: number): void {
    this.#looking ??= setTimeout(() => this.#look(), ms).unref()
  }

  #judge(open: Bag<Permit>): void {
    this.#due.set(open, open[Symbol.iterator]())
  }

  #judgeDue(): void {
    if (this.#running || this.#due.size === 0) return
    this.#running = true
    this.#slice()
  }

  #slice(): void {
    const until = performance.now() + sliceMs
    let judged = 0
    let ended = 0
    for (const [open, rest] of this.#due) {
      for (let next = rest.next(); !next.done; next = rest.next()) {
        const by = this.refusal(next.value)
        if (by !== undefined) {
          next.value.what.revoke(by)
          ended++
        }
        if (ended < maxEndsPerSlice && (++judged % batch !== 0 || performance.now() < until)) continue
        setImmediate(() => this.#slice())
        return
      }
      this.#due.delete(open)
    }
    this.#running = false
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#looking)
    for (const one of this.#listening) one[Symbol.dispose]()
  }
}

const isWhatWasAsked = (target: Accepted, { service }: Through): boolean =>
  target.kind === 'service' && target.service.key === service.key

const same = (a: Applicable, b: Applicable): boolean =>
  a === b || (sameList(a.policies, b.policies) && sameList(a.missing, b.missing))
const sameList = <T>(a: readonly T[], b: readonly T[]): boolean =>
  a.length === b.length && a.every((item, i) => item === b[i])
