export { type Database, openDatabase } from './database.ts'
export type { StoreEvent } from './event-log.ts'
export { jsonOf, sortKeyOf, Store } from './store.ts'
export {
  labelSelectorText,
  parseFieldSelector,
  type ParsedSelector,
  parseLabelSelector,
  type Selector,
} from './selectors.ts'
