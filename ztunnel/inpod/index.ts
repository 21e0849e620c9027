/** One enrolled pod: its listeners and connections. */
export { type PodProxy, type Role, startPodProxy } from './pod-proxy.ts'
export { ownNetns } from './own-netns.ts'
/** The pods of the node, as the node agent says. */
export { Pods } from './pods.ts'
export { podMetrics } from './pod-metrics.ts'
/** The client of the node agent. */
export { followAgent } from './zds.ts'
