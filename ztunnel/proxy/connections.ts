import { formatAddress } from '#base'
import { applicableOf, type Connection, decide, type Decision, policiesFor } from '#policy'
import type { MeshState, Workload } from '../state/index.ts'
import { type Entry, OpenConnection, type PodConnections } from './open-connection.ts'
import type { ReportVerdict } from './policy-report.ts'

/** Work of a re-check in one turn of the loop: traffic waits no longer than this, however many connections are open. */
const sliceMs = 5
/** Looked at between two looks at the clock. */
const batch = 64
/** Ending a connection costs much more than judging it, and most of that comes after the turn's own work. */
const maxClosesPerSlice = 50

/** Every open connection of this worker, by pod. */
export class Connections {
  readonly #pods = new Map<string, PodConnections>()
  /** Pods whose connections are being judged again, and how far that is. */
  readonly #due = new Map<PodConnections, Iterator<OpenConnection>>()
  readonly #report: ReportVerdict
  #running = false
  #size = 0

  /** `report` is told each first verdict about a connection. */
  constructor(report: ReportVerdict = () => undefined) {
    this.#report = report
  }

  /** Registers a connection; do it before its first decision, so that no policy change falls in between. */
  open(entry: Entry, parent: AbortSignal): OpenConnection {
    this.#size++
    return new OpenConnection(entry, this.#podOf(entry), parent, this.#left)
  }

  readonly #left = (pod: PodConnections): void => {
    this.#size--
    if (pod.open.size === 0 && this.#pods.get(pod.uid) === pod) this.#pods.delete(pod.uid)
  }

  #podOf({ podUid: uid, pod: name }: Entry): PodConnections {
    const known = this.#pods.get(uid)
    if (known) return known
    const pod: PodConnections = { uid, name, open: new Set(), applicable: applicableOf([]), of: undefined }
    this.#pods.set(uid, pod)
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
   * A pod without a record is judged as what it was last.
   */
  recheck(state: MeshState): void {
    for (const pod of this.#pods.values()) {
      const local = state.localWorkload(pod.name) ?? pod.of?.local
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
        if (next.value.endIfDenied()) closed++
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
    const mine = [...(this.#pods.get(podUid)?.open ?? [])].map(({ entry }) => entry)
    const of = (direction: Entry['direction']) =>
      mine
        .filter((entry) => entry.direction === direction)
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
function prepare(pod: PodConnections, { policies }: MeshState, local: Workload): boolean {
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
