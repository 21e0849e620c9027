export {
  aggregated,
  coreVersions,
  groupDocument,
  groupList,
  groupsOf,
  resourceList,
} from './discovery.ts'
export { documents, type Documents } from './documents.ts'
export { serverVersion } from './server-version.ts'
