import { spawn } from 'node:child_process'
import { MeshError, within } from '#base'

/** How a program is run. */
export type RunOptions = Readonly<{
  signal?: AbortSignal
  timeoutMs?: number
  /** Written to stdin, which is closed after it. */
  input?: string
  env?: NodeJS.ProcessEnv
}>

/** What a program left. */
export type Ran = Readonly<{ code: number; stdout: string; stderr: string }>

/** No program that we run has a reason to work longer. */
const defaultTimeoutMs = 30_000
/** More output than this is dropped: what we read are answers, never streams. */
const maxOutputBytes = 4 * 1024 * 1024

/** A root shell may come without the directories of the programs that only root needs. */
export const searchPath = (): string =>
  `${process.env['PATH'] ?? '/usr/bin:/bin'}:/usr/local/sbin:/usr/sbin:/sbin`

/** Runs a program to its end; any exit code is an answer. Fails only when it cannot start, is aborted or takes too long. */
export async function run(
  [program = '', ...args]: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  const { timeoutMs = defaultTimeoutMs, input = '' } = options
  const signal = within(timeoutMs, options.signal ?? new AbortController().signal)
  const { promise, resolve, reject } = Promise.withResolvers<Ran>()
  // cwd is `/` because a child that changes its root has no other directory in common with us.
  const child = spawn(program, args, {
    cwd: '/',
    env: options.env ?? { ...process.env, PATH: searchPath() },
    signal,
    killSignal: 'SIGKILL',
  })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      if (output[name].length < maxOutputBytes) output[name] += text
    })
  child.on('error', (cause) => reject(startFailure(program, cause, options.signal, signal, timeoutMs)))
  child.on('close', (code, killedBy) =>
    resolve({
      code: code ?? -1,
      ...output,
      ...(killedBy && { stderr: `${output.stderr}killed by ${killedBy}` }),
    }),
  )
  child.stdin.on('error', () => undefined) // EPIPE: the program did not want its input
  child.stdin.end(input)
  return promise
}

function startFailure(
  program: string,
  cause: Error,
  callers: AbortSignal | undefined,
  signal: AbortSignal,
  timeoutMs: number,
): unknown {
  if (callers?.aborted) return callers.reason
  if (signal.aborted)
    return new MeshError('timeout', { cause, message: `${program} took longer than ${timeoutMs} ms` })
  return new MeshError('syscall-failed', { cause, message: `cannot run ${program}: ${cause.message}` })
}

/** Like `run`, but an exit code other than 0 is a failure that says what the program said. */
export async function must(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, options)
  if (code === 0) return stdout
  const said = stderr.trim() || stdout.trim() || 'no message'
  throw new MeshError('syscall-failed', {
    message: `${command.slice(0, 6).join(' ')}: exit ${code}: ${said}`,
  })
}

/** `text` as one word of a POSIX shell. */
export const quote = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
