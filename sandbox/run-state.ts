import { readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import type { ChildState } from './child.ts'
import type { SandboxConfig } from './config.ts'
import type { ProcessId } from './node/runtime/process.ts'

/** What the supervisor says about itself and its children, in a file. */
export type RunState = Readonly<{
  supervisor: ProcessId
  nodes: number
  apiPort: number
  children: readonly ChildState[]
}>

const stateFile = ({ runDir }: Pick<SandboxConfig, 'runDir'>) => `${runDir}/status.json`

export async function writeRunState(config: SandboxConfig, state: RunState): Promise<void> {
  const file = stateFile(config)
  await writeFile(`${file}.tmp`, JSON.stringify(state, undefined, 1))
  await rename(`${file}.tmp`, file)
}

/** undefined when no supervisor has written one, or nothing that we can read. */
export function readRunState(config: Pick<SandboxConfig, 'runDir'>): RunState | undefined {
  try {
    // Only `writeRunState` writes it, whole.
    return JSON.parse(readFileSync(stateFile(config), 'utf8')) as RunState
  } catch {
    return undefined
  }
}
