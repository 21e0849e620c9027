export { type NodeConfig, type SandboxConfig, sandboxConfig } from './config.ts'
export { down, leftovers, restartApi, type Running, supervisorOf, up, type UpOptions } from './lifecycle.ts'
export { preflight, type Preflight } from './preflight.ts'
