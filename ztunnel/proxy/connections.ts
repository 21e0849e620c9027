import { formatAddress, MeshError, type SocketAddress } from '#base'
import { type Connection, decide, type Decision, policiesFor } from '#policy'
import type { MeshState, PodName, Workload } from '../state/index.ts'

/** An open connection that can be looked at and ended. */
export type Tracked = Disposable &
  Readonly<{
    /** Fires when the connection must end now; the reason is its error. */
    signal: AbortSignal
    /** The policies that a closing decision was about. */
    closedBy(): readonly string[] | undefined
  }>

type Entry = Readonly<{
  podUid: string
  pod: PodName
  direction: 'inbound' | 'outbound'
  src: SocketAddress
  originalDst: string | null
  actualDst: SocketAddress
  protocol: 'TCP' | 'HBONE'
  /** What policies are asked about it; inbound only, the source's ztunnel does not decide. */
  judged?: Connection | undefined
}>
type Open = Entry & { readonly abort: AbortController; closedBy?: readonly string[] }

/** The names a refusal points to. */
export function policiesOf(decision: Decision): readonly string[] {
  if (decision.verdict === 'allow') return []
  return 'considered' in decision ? decision.considered : [decision.by]
}

/** The verdict about a connection to a workload, by the policies held now. */
export const judge = (state: MeshState, local: Workload, connection: Connection): Decision =>
  judgeOf(state, local)(connection)

/** `judge` for many connections of one workload. */
function judgeOf(state: MeshState, local: Workload): (connection: Connection) => Decision {
  const { applicable, missing } = policiesFor(state.policies, local)
  return (connection) => decide(applicable, connection, missing)
}

/** Every open connection of the node. */
export class Connections {
  readonly #open = new Set<Open>()

  /** Registers a connection; do it before its first decision, so that no policy change falls in between. */
  open(entry: Entry, parent: AbortSignal): Tracked {
    const abort = new AbortController()
    const follow = () => abort.abort(parent.reason)
    if (parent.aborted) follow()
    parent.addEventListener('abort', follow, { once: true })
    const open: Open = { ...entry, abort }
    this.#open.add(open)
    return {
      signal: abort.signal,
      closedBy: () => open.closedBy,
      [Symbol.dispose]: () => {
        this.#open.delete(open)
        parent.removeEventListener('abort', follow)
      },
    }
  }

  /** Decides again about every inbound connection, with the policies and the workloads of now; ends what is denied. */
  recheck(state: MeshState): void {
    const judges = new Map<string, ((connection: Connection) => Decision) | undefined>()
    const judgeAt = ({ podUid, pod }: Open) => {
      if (!judges.has(podUid)) {
        const local = state.localWorkload(pod)
        judges.set(podUid, local && judgeOf(state, local))
      }
      return judges.get(podUid)
    }
    for (const open of this.#open) {
      const decision = open.judged && judgeAt(open)?.(open.judged)
      if (!decision) continue
      if (decision.verdict === 'allow') continue
      open.closedBy = policiesOf(decision)
      open.abort.abort(new MeshError('policy-denied', { message: 'closed due to policy change' }))
    }
  }

  get size(): number {
    return this.#open.size
  }

  /** The connections of a pod as istioctl reads them. */
  dump(podUid: string): unknown {
    const mine = [...this.#open].filter((open) => open.podUid === podUid)
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
