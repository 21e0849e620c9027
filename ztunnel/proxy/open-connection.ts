import { addFollower, dropFollower, type Follower, MeshError, type SocketAddress } from '#base'
import { type Applicable, type Connection, decide, type Decision } from '#policy'
import type { MeshState, PodName, Workload } from '../state/index.ts'

export type Entry = Readonly<{
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

/** The policies that one pod's connections are judged by, and those connections. */
export type PodConnections = {
  readonly uid: string
  readonly name: PodName
  readonly open: Set<OpenConnection>
  applicable: Applicable
  /** What `applicable` was made of; replaced by the state whenever it changes. */
  of: Readonly<{ policies: MeshState['policies']; local: Workload }> | undefined
}

/** An open connection that can be looked at and ended. Disposing it takes it off the books. */
export class OpenConnection implements Follower, Disposable {
  readonly entry: Entry
  readonly #pod: PodConnections
  readonly #parent: AbortSignal
  readonly #abort = new AbortController()
  readonly #left: (pod: PodConnections) => void
  #closedBy: readonly string[] | undefined

  constructor(entry: Entry, pod: PodConnections, parent: AbortSignal, left: (pod: PodConnections) => void) {
    this.entry = entry
    this.#pod = pod
    this.#parent = parent
    this.#left = left
    pod.open.add(this)
    addFollower(parent, this)
  }

  /** Fires when the connection must end now; the reason is its error. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** The policies that a closing decision was about. */
  get closedBy(): readonly string[] | undefined {
    return this.#closedBy
  }

  ended(reason: unknown): void {
    this.#abort.abort(reason)
  }

  /** Judged again by the policies that apply to its pod now; true when that has ended it. */
  endIfDenied(): boolean {
    const { judged } = this.entry
    if (judged === undefined || this.signal.aborted) return false
    const decision = decide(this.#pod.applicable, judged)
    if (decision.verdict === 'allow') return false
    this.#closedBy = policiesOf(decision)
    this.ended(new MeshError('policy-denied', { message: 'closed due to policy change' }))
    return true
  }

  [Symbol.dispose](): void {
    dropFollower(this.#parent, this)
    if (this.#pod.open.delete(this)) this.#left(this.#pod)
  }
}

/** The names a refusal points to. */
export function policiesOf(decision: Decision): readonly string[] {
  if (decision.verdict === 'allow') return []
  return 'considered' in decision ? decision.considered : [decision.by]
}
