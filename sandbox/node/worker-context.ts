import type { KubeClient } from '#kube'
import type { Logger } from '#telemetry'
import type { NodeConfig, SandboxConfig } from '../config.ts'
import type { TellEvent } from './events.ts'
import type { Contentful } from './volumes/payload.ts'

/** What every pod of a node is run with. */
export type WorkerContext = Readonly<{
  config: SandboxConfig
  node: NodeConfig
  client: KubeClient
  contents: Contentful & { forget(podUid: string): void }
  tell: TellEvent
  log: Logger
  /** The node's first process; what containers with the machine's /proc see as process 1. */
  nodeInit: () => number
  /** Ends with the agent; containers go on. */
  signal: AbortSignal
}>

/** Directory of a pod's own files on the machine. */
export const podDir = ({ config, node }: Pick<WorkerContext, 'config' | 'node'>, uid: string): string =>
  `${config.runDir}/nodes/${node.name}/pods/${uid}`

/** Directory of one run of a container. */
export const runDirOf = (pod: string, container: string, run: number): string =>
  `${pod}/containers/${container}/${run}`
