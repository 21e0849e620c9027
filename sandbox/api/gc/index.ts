export { judge, type OwnerState, startCollector, type Verdict } from './collector.ts'
export { startCustomKinds } from './custom-kinds.ts'
export { startEventSweeper, sweepEvents } from './events.ts'
export { startNamespaceCleaner } from './namespaces.ts'
