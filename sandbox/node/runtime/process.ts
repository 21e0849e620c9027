import { readFileSync } from 'node:fs'

/** A process that cannot be mistaken for a later one with the same number. */
export type ProcessId = Readonly<{ pid: number; startTime: string }>

/** From a line of /proc/<pid>/stat: the number, and the 22nd field, the start time in ticks since boot. */
export function parseStat(line: string): ProcessId | undefined {
  // The second field is the name in brackets and may contain anything, also blanks and brackets.
  const [, pid] = /^(\d+) \(/.exec(line) ?? []
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  const startTime = fields[19]
  return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime }
}

/** Is it still that process? A zombie is not: it has ended. */
export function isAlive({ pid, startTime }: ProcessId): boolean {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const state = line[line.lastIndexOf(')') + 2]
    return state !== 'Z' && state !== 'X' && parseStat(line)?.startTime === startTime
  } catch {
    return false
  }
}

/** The own or another process by number; undefined when there is none. */
export function identify(pid: number): ProcessId | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return undefined
  }
}

/** Sends a signal if it still is that process. */
export function signalProcess(target: ProcessId, signal: NodeJS.Signals): void {
  if (!isAlive(target)) return
  try {
    process.kill(target.pid, signal)
  } catch {
    // It ended in between.
  }
}
