import { formatAddress, MeshError, type SocketAddress } from '#base'
import { type Applicable, applicableOf, type Connection, decide, type Decision, policiesFor } from '#policy'
import type { MeshState, PodName, Workload } from '../state/index.ts'
import { follow } from './follow.ts'
import type { ReportVerdict } from './policy-report.ts'

/** An open connection that can be looked at and ended. */
export type Tracked = Disposable &
  Readonly<{
    /** Fires when the connection must end now; the reason is its error. */
    signal: AbortSignal
    /** The policies that a closing decision was about. */
    closedBy(): readonly string[] | undefined
    /** Ends it for a reason of ours. */
    end(reason: MeshError): void
  }>

type Entry = Readonly<{
  podUid: string
  pod: PodName
  direction: 'inbound' | 'outbound'
  src: SocketAddress
  originalDst: string | null
  actualDst: SocketAddress
  protocol: 'TCP' | 'HBONE' | 'DOUBLEHBONE'
  /**
   * What policies are asked about it; inbound only. A policy's scope is the workload that is called, and nothing in
   * `istio.security.Authorization` says that it is about what a workload calls: the caller's side has REGISTRY_ONLY.
   */
  judged?: Connection | undefined
}>
type Open = Entry & {
  readonly abort: AbortController
  closedBy?: readonly string[]
}

/** The names a refusal points to. */
export function policiesOf(decision: Decision): readonly string[] {
  if (decision.verdict === 'allow') return []
  return 'considered' in decision ? decision.considered : [decision.by]
}

/** The policies that one pod's connections are judged by, and those connections. */
type Pod = {
  readonly name: PodName
  readonly open: Set<Open>
  applicable: Applicable
  /** What `applicable` was made of; replaced by the state whenever it changes. */
  of: Readonly<{ policies: MeshState['policies']; local: Workload }> | undefined
}

/** Work of a re-check in one turn of the loop: traffic waits no longer than this, however many connections are open. */
const sliceMs = 5
/** Looked at between two looks at the clock. */
const batch = 64
/** Ending a connection costs much more than judging it, and most of that comes after the turn's own work. */
const maxClosesPerSlice = 50

/** Every open connection of this worker, by pod. */
export class Connections {
  readonly #pods = new Map<string, Pod>()
  /** Pods whose connections are being judged again, and how far that is. */
  readonly #due = new Map<Pod, Iterator<Open>>()
  readonly #report: ReportVerdict
  #running = false
  #size = 0

  /** `report` is told each first verdict about a connection. */
  constructor(report: ReportVerdict = () => undefined) {
    this.#report = report
  }

  /** Registers a connection; do it before its first decision, so that no policy change falls in between. */
  open(entry: Entry, parent: AbortSignal): Tracked {
    const abort = new AbortController()
    const open: Open = { ...entry, abort }
    const pod = this.#podOf(entry)
    pod.open.add(open)
    this.#size++
    const following = follow(parent, () => abort.abort(parent.reason))
    return {
      signal: abort.signal,
      closedBy: () => open.closedBy,
      end: (reason) => abort.abort(reason),
      [Symbol.dispose]: () => {
        following[Symbol.dispose]()
        if (!pod.open.delete(open)) return
        this.#size--
        if (pod.open.size === 0 && this.#pods.get(entry.podUid) === pod) this.#pods.delete(entry.podUid)
      },
    }
  }

  #podOf({ podUid, pod: name }: Entry): Pod {
    const known = this.#pods.get(podUid)
    if (known) return known
    const pod: Pod = { name, open: new Set(), applicable: applicableOf([]), of: undefined }
    this.#pods.set(podUid, pod)
    return pod
  }

  /** The verdict about a connection to a pod, by the policies held now. */
  judge(podUid: string, state: MeshState, local: Workload, connection: Connection): Decision {
    const decision = this.#judge(podUid, state, local, connection)
    this.#report(decision, connection)
    return decision
  }

  #judge(podUid: string, state: MeshState, local: Workload, connection: Connection): Decision {
    const pod = this.#pods.get(podUid)
    if (!pod) {
      return decide(policiesFor(state.policies, local), connection)
    }
    // Whoever sees first that the policies are others has the connections from before judged again.
    if (prepare(pod, state, local)) this.#due.set(pod, pod.open.values())
    this.#judgeDue()
    return decide(pod.applicable, connection)
  }

  /**
   * Decides again about the inbound connections of the pods that other policies apply to than before, with the workloads
   * of now, and ends what is denied. Many are judged in slices; one that opens meanwhile is judged by the policies of now.
   */
  recheck(state: MeshState): void {
    for (const pod of this.#pods.values()) {
      const local = state.localWorkload(pod.name)
      if (local && prepare(pod, state, local)) this.#due.set(pod, pod.open.values())
    }
    this.#judgeDue()
  }

  #judgeDue(): void {
    if (this.#running || this.#due.size === 0) return
    this.#running = true
    this.#slice()
  }

  #slice(): void {
    const until = performance.now() + sliceMs
    let judged = 0
    let closed = 0
    for (const [pod, rest] of this.#due) {
      for (let next = rest.next(); !next.done; next = rest.next()) {
        if (endIfDenied(next.value, pod)) closed++
        if (closed < maxClosesPerSlice && (++judged % batch !== 0 || performance.now() < until)) continue
        setImmediate(() => this.#slice())
        return
      }
      this.#due.delete(pod)
    }
    this.#running = false
  }

  get size(): number {
    return this.#size
  }

  /** The connections of a pod as istioctl reads them. */
  dump(podUid: string): Readonly<{ inbound: readonly unknown[]; outbound: readonly unknown[] }> {
    const mine = [...(this.#pods.get(podUid)?.open ?? [])]
    const of = (direction: Open['direction']) =>
      mine
        .filter((open) => open.direction === direction)
        .map(({ src, originalDst, actualDst, protocol }) => ({
          src: formatAddress(src),
          originalDst,
          actualDst: formatAddress(actualDst),
          protocol,
        }))
    return { inbound: of('inbound'), outbound: of('outbound') }
  }
}

/** Finds the policies that apply now; true when connections have been judged by others. */
function prepare(pod: Pod, { policies }: MeshState, local: Workload): boolean {
  if (pod.of?.policies === policies && pod.of.local === local) return false
  const before = pod.applicable
  const applicable = policiesFor(policies, local)
  const unchanged = same(applicable.policies, before.policies) && same(applicable.missing, before.missing)
  const changed = pod.of !== undefined && !unchanged
  Object.assign(pod, { applicable, of: { policies, local } })
  return changed
}

const same = <T>(a: readonly T[], b: readonly T[]): boolean =>
  a.length === b.length && a.every((item, i) => item === b[i])

function endIfDenied(open: Open, { applicable }: Pod): boolean {
  if (open.judged === undefined || open.abort.signal.aborted) return false
  const decision = decide(applicable, open.judged)
  if (decision.verdict === 'allow') return false
  open.closedBy = policiesOf(decision)
  open.abort.abort(new MeshError('policy-denied', { message: 'closed due to policy change' }))
  return true
}
