import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, statSync, watch } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { MeshError, within } from '#base'
import { asUser, dieWithParent, type ContainerPlan, initScript, shimScript } from './init-script.ts'
import { identify, isAlive, parseStat, type ProcessId, signalProcess } from './process.ts'

/** How a container's program ended. 137 without a witness: it was gone when we looked. */
export type Exit = Readonly<{ code: number; finishedAt: number }>
type Started = Readonly<{ kind: 'started'; init: ProcessId }> | Readonly<{ kind: 'failed'; message: string }>

/** Building a root takes tens of milliseconds; more than this and something is stuck. */
const startTimeoutMs = 30_000
/** A shell that was killed leaves no exit code and wakes nobody, so we look at least this often. */
const livenessIntervalMs = 2_000
const killedExitCode = 137

/**
 * Starts a container in `plan.dir`, which must be new, and waits until its program runs. It does not depend on this
 * process: whoever reads `plan.dir` later can wait for it or signal it.
 */
export async function startContainer(plan: ContainerPlan, signal: AbortSignal): Promise<Started> {
  await mkdir(`${plan.dir}/scratch`, { recursive: true })
  await Promise.all(['stdout', 'stderr', 'setup'].map((name) => writeFile(`${plan.dir}/${name}`, '')))
  await writeFile(`${plan.dir}/init.sh`, initScript(plan), { mode: 0o700 })
  await writeFile(`${plan.dir}/run.sh`, shimScript(plan), { mode: 0o700 })
  const shim = spawn('sh', [`${plan.dir}/run.sh`], { cwd: '/', detached: true, stdio: 'ignore' })
  const failed = new Promise<never>((_, reject) => shim.once('error', reject))
  shim.unref()
  return Promise.race([failed, waitForStart(plan.dir, signal)])
}

/** Waits until the program of a container that somebody started runs or could not be started. */
export const waitForStart = (dir: string, signal: AbortSignal): Promise<Started> =>
  until(dir, () => startOutcome(dir), within(startTimeoutMs, signal))

function startOutcome(dir: string): Started | undefined {
  const setup = readText(`${dir}/setup`)
  const init = initOf(dir)
  if (/^ok$/m.test(setup) && init) return { kind: 'started', init }
  if (readText(`${dir}/exit`) === '') return undefined
  return {
    kind: 'failed',
    message: setup.trim() || readText(`${dir}/stderr`).trim() || 'ended before it started',
  }
}

/** The program's process, also of a container that another agent started; undefined before it exists. */
export const initOf = (dir: string): ProcessId | undefined => parseStat(readText(`${dir}/stat`))

/** How it ended; undefined while it runs. The shell writes nothing but the code, at once, so the file's time is the end. */
function exitOf(dir: string): Exit | undefined {
  const text = readText(`${dir}/exit`)
  if (!text.endsWith('\n')) return undefined
  return { code: Number(text), finishedAt: Math.round(statSync(`${dir}/exit`).mtimeMs) }
}

/** Waits for the end of a container, whoever started it. */
export function waitForExit(dir: string, signal: AbortSignal): Promise<Exit> {
  let goneSince: number | undefined
  return until(
    dir,
    () => {
      const exit = exitOf(dir)
      if (exit) return exit
      const init = initOf(dir)
      if (init && isAlive(init)) return undefined
      // The shell writes the code right after the program ends; only if it does not, it was killed too.
      goneSince ??= Date.now()
      return Date.now() - goneSince < livenessIntervalMs
        ? undefined
        : { code: killedExitCode, finishedAt: goneSince }
    },
    signal,
  )
}

/** Asks the program to end. It is process 1 of its namespace, so only a signal that it handles does anything. */
export function signalContainer(dir: string, name: NodeJS.Signals): void {
  const init = initOf(dir)
  if (init) signalProcess(init, name)
}

/** Files whose change may mean that a container has started or ended. */
const tellingFiles = new Set(['setup', 'stat', 'exit'])

/** The directory's `probe` until it says something: on every change in it, and every now and then. */
async function until<T>(dir: string, probe: () => T | undefined, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const look = () => {
    const found = probe()
    if (found !== undefined) resolve(found)
  }
  // The program's output is in the same directory and none of our business.
  const watcher = watch(dir, { persistent: false }, (_, name) => {
    if (name === null || tellingFiles.has(name)) look()
  })
  watcher.on('error', () => undefined) // the interval still looks
  const timer = setInterval(look, livenessIntervalMs / 2)
  const abort = () => reject(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  look()
  try {
    return await promise
  } finally {
    watcher.close()
    clearInterval(timer)
    signal.removeEventListener('abort', abort)
  }
}

/** What a further program in a running container needs to know of it. */
export type ExecTarget = Pick<ContainerPlan, 'dir' | 'user' | 'capabilities' | 'env' | 'workingDir'>

/**
 * Starts a further program in a running container, as the container's user. It is a session of its own: `endExec`
 * ends everything that it started, and it dies with this process.
 */
export function execInContainer(target: ExecTarget, command: readonly string[]): ChildProcess {
  const init = initOf(target.dir)
  if (!init || !isAlive(init)) throw new MeshError('unavailable', { message: 'container is not running' })
  const namespaces = ['--mount', '--net', '--pid', '--uts', '--ipc']
  return spawn(
    'setpriv',
    [...dieWithParent, 'nsenter', `--target=${init.pid}`, ...namespaces, ...asUser({ ...target, command })],
    { cwd: '/', detached: true, stdio: ['pipe', 'pipe', 'pipe'] },
  )
}

/** Ends a program of `execInContainer` and its children. */
export function endExec(child: ChildProcess): void {
  if (child.pid === undefined || !identify(child.pid)) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It ended in between.
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
