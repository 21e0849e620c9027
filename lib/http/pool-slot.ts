import type { Body, HttpConnection, HttpVersion, RequestHead, SendOptions, SendOutcome } from './exchange.ts'
import type { PoolDestination } from './pool-policy.ts'

/** What a group uses at the moment. */
export type Group = { connections: number; pending: number; requests: number }

/** A request that waits for a connection. */
export type Waiting = {
  readonly request: RequestHead
  readonly body: Body | undefined
  readonly options: SendOptions
  readonly settle: (outcome: SendOutcome) => void
  readonly onAbort: () => void
}

/** An open connection. */
export type Kept = {
  readonly slot: Slot
  connection: HttpConnection | undefined
  served: number
  active: number
  /** It is among the free ones. */
  free: boolean
  idle: NodeJS.Timeout | undefined
  /** Of the timer. */
  idleMs: number
  end: NodeJS.Timeout | undefined
}

/** What a pool knows of one destination. */
export type Slot = {
  readonly key: string
  readonly place: string
  readonly group: Group
  destination: PoolDestination
  dialling: number
  /** Drained, and nobody has asked for it since: what is still being dialled serves those that wait, and no others. */
  leaving: boolean
  readonly open: Set<Kept>
  /** Those that may have room; the one that was used last is at the end, and used first, so that the others get old. */
  readonly free: Kept[]
  readonly waiting: Waiting[]
}

/** How much sooner than a server would we close, so that no request meets its end on the way; of less than two of these half is left. */
const marginMs = 1_000

/** How long a connection without a request is kept; 0 for ever. A request that is not safe is lost with one that the server closes first. */
export function idleMsOf({ slot, connection }: Kept): number {
  const { idleMs } = slot.destination.policy
  const keptMs = connection?.keptMs ?? 0
  if (keptMs === 0) return idleMs
  const own = Math.max(keptMs - marginMs, keptMs / 2)
  return idleMs === 0 ? own : Math.min(idleMs, own)
}

/** Many requests at once go over one connection. */
export const isShared = (version: HttpVersion): boolean => version === 'HTTP/2'

/** A connection that can take a request. */
export function pick({ free, destination }: Slot): Kept | undefined {
  const most = isShared(destination.version) ? destination.policy.maxConcurrentStreams : 1
  for (let last = free.at(-1); last !== undefined; last = free.at(-1)) {
    const usable = last.connection?.available === true && last.active < most
    if (usable && last.active + 1 < most) return last
    // It comes back when one of its requests is over.
    free.pop()
    last.free = false
    if (usable) return last
  }
  return undefined
}
