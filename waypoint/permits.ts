import { Bag, type Place, type SocketAddress } from '#base'
import type { MeshState, Workload } from '#mesh'
import type { Applicable } from '#policy'
import { serviceNameOf, type Touched, type WaypointPolicies } from './policy.ts'
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
  stream?: Readonly<{ moved(): number; stalled(): void }>
}>

/** Where it has gone. */
type Reached = Readonly<{ workload: Workload; to: SocketAddress }>

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
   * first, so that no change falls in between.
   */
  reach(workload: Workload, to: SocketAddress): string | undefined {
    this.#permits.left(this)
    this.#reached = { workload, to }
    if (!this.#over) this.#permits.arrived(this)
    return this.#permits.refusalAt(workload, to, this.what.asker)
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

/** Those that go to one workload, and by what they were judged last. */
type AtWorkload = { workload: Workload; judgedBy: Applicable; readonly open: Bag<Permit> }

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
  refusal({ what: { target, asker }, reached }: Permit): string | undefined {
    return (
      this.#policies.refusal(target, asker) ??
      (reached && this.refusalAt(this.#now(reached.workload), reached.to, asker))
    )
  }

  /** Why nothing may be sent to a workload for who asks. */
  refusalAt(workload: Workload, to: SocketAddress, asker: Asker): string | undefined {
    return this.#workloadPolicies.refusal(workload, to, asker)
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
    const { workload } = reached
    const known = this.#byWorkload.get(workload.uid)
    if (known) {
      permit.atWorkload = known.open.add(permit)
      return
    }
    const judgedBy = this.#workloadPolicies.applicableTo(workload)
    const open = new Bag<Permit>()
    permit.atWorkload = open.add(permit)
    this.#byWorkload.set(workload.uid, { workload, judgedBy, open })
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
    else
      for (const name of touched) {
        const open = this.#byService.get(name)
        if (open) this.#judge(open)
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

const same = (a: Applicable, b: Applicable): boolean =>
  a === b || (sameList(a.policies, b.policies) && sameList(a.missing, b.missing))
const sameList = <T>(a: readonly T[], b: readonly T[]): boolean =>
  a.length === b.length && a.every((item, i) => item === b[i])
