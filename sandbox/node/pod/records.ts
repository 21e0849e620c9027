/** How a run of a container ended. Times are milliseconds since the epoch. */
export type Termination = Readonly<{
  exitCode: number
  reason: string
  message?: string
  startedAt: number
  finishedAt: number
}>
export type ContainerState =
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
  state: { kind: 'waiting', reason: 'PodInitializing' },
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

/** The record after run `run` began. What had ended before is the last termination now. */
export function began(
  record: ContainerRecord,
  run: number,
  startedAt: number,
  probed: Readonly<{ startup: boolean; readiness: boolean }>,
): ContainerRecord {
  const { state, last, ...rest } = record
  const before = state.kind === 'terminated' ? withoutKind(state) : last
  return {
    ...rest,
    ...(before && { last: before }),
    run,
    state: { kind: 'running', startedAt },
    started: !probed.startup,
    ready: !probed.startup && !probed.readiness,
  }
}

function withoutKind({
  kind: _,
  ...termination
}: Extract<ContainerState, { kind: 'terminated' }>): Termination {
  return termination
}
