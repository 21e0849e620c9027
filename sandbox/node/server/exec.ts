import type { ChildProcess } from 'node:child_process'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { messageOf } from '#base'
import { quote } from '../../net/index.ts'
import { readTarget } from '../container-run.ts'
import { endExec, execInContainer } from '../runtime/container.ts'
import { acceptChannels, copyTo, sendOn, splitMessage } from './channels.ts'

type Request = Readonly<{ dir: string; command: readonly string[]; stdin: boolean; tty: boolean }>

const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const
const protocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io']

/** Runs a command in a container over a WebSocket; it ends with the client. */
export async function serveExec(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  exec: Request,
  signal: AbortSignal,
): Promise<void> {
  const client = await acceptChannels(request, socket, head, protocols)
  try {
    const child = execInContainer(readTarget(exec.dir), exec.tty ? onTerminal(exec.command) : exec.command)
    const abort = () => client.terminate()
    signal.addEventListener('abort', abort, { once: true })
    client.once('close', () => signal.removeEventListener('abort', abort))
    attach(client, child, exec)
  } catch (error) {
    finish(client, failure(messageOf(error)))
  }
}

/** `script` gives the command a terminal; its size cannot be changed from outside, so resize messages are ignored. */
const onTerminal = (command: readonly string[]): readonly string[] => [
  'script',
  '--quiet',
  '--return',
  '--command',
  command.map(quote).join(' '),
  '/dev/null',
]

function attach(client: WebSocket, child: ChildProcess, { stdin }: Request): void {
  if (child.stdout) copyTo(client, channels.stdout, child.stdout)
  if (child.stderr) copyTo(client, channels.stderr, child.stderr)
  child.stdin?.on('error', () => undefined) // the program does not read any more
  child.stdin?.on('drain', () => client.resume())
  if (!stdin) child.stdin?.end()
  client.on('message', (message) => {
    const { channel, bytes } = splitMessage(message)
    if (channel === channels.close && bytes[0] === channels.stdin) child.stdin?.end()
    else if (channel === channels.stdin && child.stdin?.writable && !child.stdin.write(bytes)) client.pause()
  })
  client.on('error', () => client.terminate())
  client.once('close', () => endExec(child))
  child.once('error', (error) => finish(client, failure(messageOf(error))))
  child.once('close', (code) =>
    finish(client, code === 0 ? { metadata: {}, status: 'Success' } : exited(code ?? 137)),
  )
}

/** The outcome on the error channel, then a proper close. */
function finish(client: WebSocket, status: Readonly<Record<string, unknown>>): void {
  client.resume()
  sendOn(client, channels.error, Buffer.from(JSON.stringify(status)), () => client.close(1000))
}

const exited = (code: number) => ({
  metadata: {},
  status: 'Failure',
  message: `command terminated with non-zero exit code: exit status ${code}`,
  reason: 'NonZeroExitCode',
  details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
})

const failure = (message: string) => ({
  metadata: {},
  status: 'Failure',
  message,
  reason: 'InternalError',
  details: { causes: [{ message }] },
  code: 500,
})
