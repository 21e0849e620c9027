import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { MeshError, within } from '#base'
import { type FrameCounts, frameCounter, pcapReader } from './pcap.ts'

/** A running capture; `counts` grows until it is disposed. */
export type Capture = AsyncDisposable & { readonly counts: FrameCounts }

const startTimeoutMs = 10_000

/** Captures every frame of `device` in the network namespace `netns` (a path) and searches them for `marker`. */
export async function startCapture(
  { netns, device, marker }: { netns: string; device: string; marker: string },
  signal: AbortSignal,
): Promise<Capture> {
  const counter = frameCounter(marker)
  const child = spawn(
    'nsenter',
    [`--net=${netns}`, 'tcpdump', '-i', device, '-U', '--immediate-mode', '-s', '0', '-w', '-'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const read = pcapReader(counter.add)
  child.stdout.on('data', (chunk: Buffer) => {
    try {
      read(chunk)
    } catch {
      child.kill()
    }
  })
  await listening(child, within(startTimeoutMs, signal))
  return {
    counts: counter.counts,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
    },
  }
}

/** Waits for tcpdump's own sentence: frames before it are not captured, so nobody may count on them. */
async function listening(child: ChildProcess, signal: AbortSignal): Promise<void> {
  let said = ''
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string) => reject(new MeshError('syscall-failed', { message: `tcpdump: ${why}` }))
    child.once('error', (error) => fail(error.message))
    child.once('exit', () => fail(said.trim() || 'ended at once'))
    signal.addEventListener('abort', () => fail('did not start in time'), { once: true })
    child.stderr?.on('data', (chunk: Buffer) => {
      if (said.length < 4096) said += chunk.toString()
      if (said.includes('listening on')) resolve()
    })
  })
}
