/** What the kernel does for enrolled pods: rendered as text by pure functions, applied atomically, read back. */
export { type Backend, type BackendChoice, detectBackend } from './backend.ts'
export { type Family, type Phase, type PodRules, wire } from './intent.ts'
export { applyPodRules, type Place, removePodRules, verifyPodRules } from './pod.ts'
export { type HostOptions, HostRules, type Member } from './host.ts'
export { migrateRequests } from './migrate-requests.ts'
