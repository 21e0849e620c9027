import { spawn } from 'node:child_process'
import { MeshError } from '#base'
import type { Netns } from '#linux'

/** How long any of these tools may take; they wait for the xtables lock. */
const timeoutMs = 20_000
/** More than any rule set that we read. */
const maxOutputBytes = 8 << 20

export type Command = readonly [program: string, ...args: string[]]
type RunOptions = Readonly<{
  /** Where to run it; the own network namespace when left out. */
  netns?: Netns | undefined
  input?: string
  signal: AbortSignal
}>

/**
 * Runs a program (never a shell: names of pods and interfaces are only ever arguments or stdin) and returns its stdout.
 * The namespace goes along as an open descriptor, so it is the one that was looked at, whatever its path names by now.
 */
export async function run(command: Command, options: RunOptions): Promise<string> {
  const { status, output, errors } = await execute(command, options)
  if (status !== 0) throw failed(command, status, errors)
  return output
}

/** `run` for programs that answer several questions and fail when one has no answer. */
export const runAnyway = async (command: Command, options: RunOptions): Promise<string> =>
  (await execute(command, options)).output

type Ran = Readonly<{ status: number | string; output: string; errors: string }>

async function execute(command: Command, { netns, input = '', signal }: RunOptions): Promise<Ran> {
  const argv: Command = netns ? ['nsenter', '--net=/proc/self/fd/3', '--', ...command] : command
  const [program, ...args] = argv
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe', ...(netns ? [netns.fd] : [])],
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
  })
  const output = collect(child.stdout)
  const errors = collect(child.stderr)
  child.stdin?.on('error', () => undefined) // it ended without reading; its exit status says why
  child.stdin?.end(input)
  const status = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, killedBy) => resolve(code ?? killedBy ?? 'unknown'))
  }).catch((cause: unknown) => {
    signal.throwIfAborted()
    throw new MeshError('syscall-failed', { message: `${command[0]} could not run`, cause })
  })
  return { status, output: output(), errors: errors() }
}

/** `run`, with undefined instead of a failure: for questions whose answer may be "there is none". */
export const tryRun = (command: Command, options: RunOptions): Promise<string | undefined> =>
  run(command, options).catch(() => {
    options.signal.throwIfAborted()
    return undefined
  })

function failed(command: Command, status: number | string, stderr: string): MeshError {
  const why = stderr.trim().split('\n').slice(0, 3).join('; ').slice(0, 500)
  return new MeshError('syscall-failed', { message: `${command.join(' ')}: ${why || `exit ${status}`}` })
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = []
  let length = 0
  stream?.on('data', (chunk: Buffer) => {
    length += chunk.length
    if (length <= maxOutputBytes) chunks.push(chunk)
  })
  return () => Buffer.concat(chunks).toString('utf8')
}
