import type { Extension } from './generated/workload.ts'

/**
 * Among the extensions of a service: it is a host of a ServiceEntry. A Service may have the same name, and policies are
 * attached to the one or the other.
 */
const name = 'lateen.dev/service-entry'

/** Says it. */
export const serviceEntryExtension: Extension = { name, config: undefined }

/** The kind of the object that a service comes from. */
export const serviceKindOf = (extensions: readonly Extension[]): 'Service' | 'ServiceEntry' =>
  extensions.some((one) => one.name === name) ? 'ServiceEntry' : 'Service'
