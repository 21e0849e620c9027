import type { Extension, Service } from './generated/workload.ts'

/**
 * Among the extensions of a service: it is a host of a ServiceEntry. A Service may have the same name, and policies are
 * attached to the one or the other.
 */
const name = 'lateen.dev/service-entry'

/** Says it. */
export const serviceEntryExtension: Extension = { name, config: undefined }

/**
 * The kind of the object that a service comes from. A controller of before told no kinds: what has not the host of the
 * Service of its name is none, and its policies hold also while controllers are being replaced.
 */
export const serviceKindOf = ({
  name: own,
  namespace,
  hostname,
  extensions,
}: Pick<Service, 'name' | 'namespace' | 'hostname' | 'extensions'>): 'Service' | 'ServiceEntry' =>
  extensions.some((one) => one.name === name) || !hostname.startsWith(`${own}.${namespace}.svc.`)
    ? 'ServiceEntry'
    : 'Service'
