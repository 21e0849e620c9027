import { parseWorkload, type Service, type Workload } from '#mesh'
import { workload as wire } from '#wire'
import { type Host, newHost } from './host.ts'

/** A service that is every name below one (resolution DYNAMIC_DNS): it has no endpoints but the names that are asked for. */
export const isAnyName = ({ hostname }: Pick<Service, 'hostname'>): boolean => hostname.startsWith('*.')

const dnsName = /^(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))+$/
const maxName = 253

const uidPrefix = 'name:'
/** Is it a name that a client has chosen? */
export const isAsked = ({ uid }: Workload): boolean => uid.startsWith(uidPrefix)

/** Where a name leads that a client has used for such a service; undefined for a name that is not one of its. */
export function namedHost(service: Service, port: number, said: string, network: string): Host | undefined {
  const name = said.toLowerCase().replace(/\.$/, '')
  const isBelow = name.endsWith(service.hostname.slice(1)) && name.length >= service.hostname.length
  const target = service.ports.get(port)
  if (!isBelow || target === undefined || name.length > maxName || !dnsName.test(name)) return undefined
  const row = wire.Workload.decode(new Uint8Array())
  const made = { ...row, uid: `${uidPrefix}${name}`, namespace: service.namespace, hostname: name, network }
  return newHost(parseWorkload(made), target === 0 ? port : target, 0)
}
