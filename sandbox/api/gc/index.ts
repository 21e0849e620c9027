export { judge, type OwnerState, startCollector, type Verdict } from './collector.ts'
export { startCustomKinds } from './custom-kinds.ts'
export { startNamespaceCleaner } from './namespaces.ts'
