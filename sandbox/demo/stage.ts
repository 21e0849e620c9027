import type { SandboxConfig } from '../config.ts'
import { down, leftovers, up } from '../lifecycle.ts'
import type { Stage } from './scene.ts'

/** A sandbox that starts empty and, when it is taken down, is forgotten. */
export const stageOf = (config: SandboxConfig): Stage => ({
  config,
  up: async (signal) => {
    await up(config, { fresh: true, signal })
  },
  down: () => down(config, { purge: true }),
  leftovers: () => leftovers(config),
})
