import { readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import type { SandboxConfig } from './config.ts'

/** What the supervisor says about itself and its children, in a file. */
const RunState = z.object({
  supervisor: z.object({ pid: z.number(), startTime: z.string() }),
  nodes: z.number(),
  apiPort: z.number().optional(),
  children: z.array(z.object({ name: z.string(), pid: z.number().optional(), restarts: z.number() })),
})
export type RunState = Readonly<z.infer<typeof RunState>>

const stateFile = ({ runDir }: Pick<SandboxConfig, 'runDir'>) => `${runDir}/status.json`

export async function writeRunState(config: SandboxConfig, state: RunState): Promise<void> {
  const file = stateFile(config)
  await writeFile(`${file}.tmp`, JSON.stringify(state, undefined, 1))
  await rename(`${file}.tmp`, file)
}

/** undefined when no supervisor has written one, or nothing that we can read. */
export function readRunState(config: Pick<SandboxConfig, 'runDir'>): RunState | undefined {
  try {
    return RunState.parse(JSON.parse(readFileSync(stateFile(config), 'utf8')))
  } catch {
    return undefined
  }
}
