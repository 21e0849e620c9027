/** How a run of a container ended. Times are milliseconds since the epoch. */
export type Termination = Readonly<{
  exitCode: number
  reason: string
  message?: string
  startedAt: number
  finishedAt: number
}>
type ContainerState =
  | Readonly<{ kind: 'waiting'; reason: string; message?: string; retryAt?: number }>
  | Readonly<{ kind: 'running'; startedAt: number }>
  | (Readonly<{ kind: 'terminated' }> & Termination)

/** What the node agent knows of one container of a pod. Kept on disk: a new agent goes on from here. */
export type ContainerRecord = Readonly<{
  name: string
  state: ContainerState
  /** The run before the present one. */
  last?: Termination
  /** Number of the present or latest run, from 0; its directory is named by it. -1 before the first. */
  run: number
  /** Ends in a row, each soon after its start; decides how long the next start waits. */
  quickEnds: number
  /** The startup probe has passed, or there is none. */
  started: boolean
  ready: boolean
}>

export const newRecord = (name: string): ContainerRecord => ({
  name,
  state: { kind: 'waiting', reason: 'ContainerCreating' },
  run: -1,
  quickEnds: 0,
  started: false,
  ready: false,
})

/** A run at least this long has worked: its end is not held against the next start. */
const soundRunMs = 30_000
const firstDelayMs = 500
const maxDelayMs = 60_000

/** How long after its end a container is started again: half a second at first, doubled while it keeps ending soon. */
export const restartDelayMs = (quickEnds: number): number =>
  quickEnds === 0 ? firstDelayMs / 2 : Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(quickEnds - 1, 20))

/** The record after its program ended. */
export function ended(record: ContainerRecord, termination: Termination): ContainerRecord {
  const sound = termination.finishedAt - termination.startedAt >= soundRunMs
  return {
    ...record,
    state: { kind: 'terminated', ...termination },
    quickEnds: sound ? 0 : record.quickEnds + 1,
    started: false,
    ready: false,
  }
}

/** The record while run `run` is being started. */
export const creating = (record: ContainerRecord, run: number): ContainerRecord => ({
  ...record,
  ...(record.state.kind === 'terminated' && { last: withoutKind(record.state) }),
  run,
  state: { kind: 'waiting', reason: 'ContainerCreating' },
})

/** The record after run `run` began. */
export function began(
  record: ContainerRecord,
  run: number,
  startedAt: number,
  probed: Readonly<{ startup: boolean; readiness: boolean }>,
): ContainerRecord {
  return {
    ...record,
    run,
    state: { kind: 'running', startedAt },
    started: !probed.startup,
    ready: !probed.startup && !probed.readiness,
  }
}

const withoutKind = ({ exitCode, reason, message, startedAt, finishedAt }: Termination): Termination => ({
  exitCode,
  reason,
  ...(message !== undefined && { message }),
  startedAt,
  finishedAt,
})
