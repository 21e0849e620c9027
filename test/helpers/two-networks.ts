import type { Route } from '../../ztunnel/state/index.ts'
import { gateway, type ServiceDraft, type WorkloadDraft } from '../fakes/mesh.ts'
import { web, wp } from './outbound-kit.ts'
import { routeText } from './route-oracle.ts'

export { ask, meshOf, wp } from './outbound-kit.ts'

const host = 'web.demo.svc.cluster.local'
const gw = 'demo/gw.demo.svc.cluster.local'
export const alt = 'spiffe://cluster.local/ns/demo/sa/web'
export const id = (name: string) => `spiffe://cluster.local/ns/demo/sa/${name}`

export const textOf = (route: Route) =>
  route.kind === 'reject' ? `reject ${route.reason}` : routeText(route)

export const service: ServiceDraft = {
  name: 'web',
  vips: ['10.96.0.1', 'fd96::1'],
  ports: { 80: 8080 },
  subjectAltNames: [alt],
}
/** What the control plane sends for all endpoints of a service on another network. */
export const far: WorkloadDraft = {
  name: 'far',
  uid: 'far/SplitHorizonWorkload/gw/demo/web',
  network: 'far',
  services: { [web]: { 80: 8080 } },
  networkGateway: gateway(gw, 15009),
}
export const eastWest: WorkloadDraft = {
  name: 'gw',
  network: 'far',
  addresses: ['192.0.2.1'],
  services: { [gw]: { 15009: 15008 } },
}
export const eastWest2 = { ...eastWest, name: 'gw2', addresses: ['192.0.2.2'], serviceAccount: 'gw' }
export const gatewayService: ServiceDraft = { name: 'gw', ports: { 15009: 15008 } }
export const near: WorkloadDraft = {
  name: 'near',
  addresses: ['10.0.0.2'],
  services: { [web]: { 80: 8080 } },
}
export const waypoint: WorkloadDraft = {
  name: 'wp',
  network: 'far',
  services: { [wp]: {} },
  networkGateway: gateway(gw, 15009),
}
export const waypointService: ServiceDraft = {
  name: 'wp',
  ports: { 15008: 15008 },
  subjectAltNames: [id('wp')],
}
export const networkFirst = (mode: 1 | 2) => ({
  ...service,
  loadBalancing: { mode, routingPreference: [6, 1, 2] as (1 | 2 | 6)[], healthPolicy: 0 as const },
})
export const byAddress = (address: string, network = 'far') => ({
  hboneMtlsPort: 15009,
  destination: {
    $case: 'address' as const,
    value: { network, address: Buffer.from(address.split('.').map(Number)) },
  },
})
export const through = (via: string, reason: string, inner = alt) =>
  `double-hbone ${via} ${host}:80 ${id('gw')} inner ${inner} ${reason}`
