import type { Gateway } from '../collections/index.ts'
import { workloadNameOf } from './names.ts'

/** The Service that stands for a Gateway. */
export type Host = Readonly<{ serviceKey: string; hostname: string }>

/** Whether the user deploys it: then there is an address that only the user can have made. */
export const isManual = ({ addresses }: Gateway): boolean =>
  addresses.length > 1 || addresses.some(({ type }) => type !== 'IPAddress')

/** Ours, or of a manual Gateway the one that its only address names; undefined when that is no Service of this cluster. */
export function hostOf(gateway: Gateway, domain: string): Host | undefined {
  if (!isManual(gateway)) return hostNamed(workloadNameOf(gateway), gateway.namespace, domain)
  const [address, ...more] = gateway.addresses
  if (address?.type !== 'Hostname' || more.length > 0) return undefined
  if (!address.value.includes('.')) return hostNamed(address.value, gateway.namespace, domain)
  const [name = '', namespace = '', ...rest] = address.value.split('.')
  return rest.join('.') === `svc.${domain}` ? hostNamed(name, namespace, domain) : undefined
}

const hostNamed = (name: string, namespace: string, domain: string): Host => ({
  serviceKey: `${namespace}/${name}`,
  hostname: `${name}.${namespace}.svc.${domain}`,
})
