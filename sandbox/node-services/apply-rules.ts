import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { MeshError, within } from '#base'

/** nft takes milliseconds; one that hangs is ended. */
const timeoutMs = 10_000
const maxErrorChars = 4096

/** Loads a ruleset in one transaction, in the network namespace of this process. */
export async function applyRules(
  rules: string,
  signal: AbortSignal,
  command: readonly string[] = ['nft'],
): Promise<void> {
  const [program = 'nft', ...args] = command
  const child = spawn(program, [...args, '-f', '-'], {
    signal: within(timeoutMs, signal),
    killSignal: 'SIGKILL',
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    if (said.length < maxErrorChars) said += chunk
  })
  child.stdin.on('error', () => undefined) // nft that ends early says why on stderr
  child.stdin.end(rules)
  const [code]: unknown[] = await once(child, 'close')
  if (code !== 0)
    throw new MeshError('syscall-failed', { message: `nft: ${said.slice(0, maxErrorChars).trim()}` })
}
