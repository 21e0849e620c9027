import { ipFromBytes } from '#base'
import type { Authorization, Match, TextMatch } from '#policy'
import { type Gateway, gatewayName, type Service, type ServiceKey, type Workload } from './mesh.ts'
import type { MeshState } from './mesh-state.ts'

/** A value as istioctl's ztunnel-config reads it (facts: ztunnel.md §8.2). Empty optional parts are left out. */
type Json = unknown

const unlessEmpty = <T extends string | readonly unknown[]>(value: T) =>
  value.length === 0 ? undefined : value
const gateway = (g: Gateway | undefined) => g && { destination: gatewayName(g), hboneMtlsPort: g.port }

export const dumpWorkload = (w: Workload): Json => ({
  uid: w.uid,
  workloadIps: w.addresses,
  waypoint: gateway(w.waypoint),
  networkGateway: gateway(w.networkGateway),
  protocol: w.protocol,
  networkMode: w.networkMode,
  name: w.name,
  namespace: w.namespace,
  trustDomain: unlessEmpty(w.trustDomain),
  serviceAccount: unlessEmpty(w.serviceAccount),
  network: unlessEmpty(w.network),
  workloadName: unlessEmpty(w.workloadName),
  workloadType: w.workloadType,
  canonicalName: unlessEmpty(w.canonicalName),
  canonicalRevision: unlessEmpty(w.canonicalRevision),
  hostname: unlessEmpty(w.hostname),
  node: unlessEmpty(w.node),
  nativeTunnel: w.nativeTunnel || undefined,
  applicationTunnel: w.applicationTunnel,
  authorizationPolicies: unlessEmpty(w.authorizationPolicies),
  status: w.status,
  clusterId: w.clusterId,
  locality: Object.values(w.locality).some((part) => part !== '') ? w.locality : undefined,
  services: unlessEmpty([...w.services.keys()]),
  capacity: w.capacity,
})

export const dumpService = (s: Service, state: MeshState): Json => ({
  name: s.name,
  namespace: s.namespace,
  hostname: s.hostname,
  vips: s.vips.map(({ network, address }) => `${network}/${address}`),
  cidrVips: unlessEmpty(s.cidrVips.map(({ network, cidr }) => ({ network, cidr: blockText(cidr) }))),
  ports: Object.fromEntries(s.ports),
  endpoints: Object.fromEntries(
    [...state.membersOf(s.key).values()].map((w) => [w.uid, dumpEndpoint(w, s.key)]),
  ),
  subjectAltNames: unlessEmpty(s.subjectAltNames),
  waypoint: gateway(s.waypoint),
  weightedWaypoints: unlessEmpty(
    s.weightedWaypoints.map((w) => ({ destination: gateway(w.gateway), weight: w.weight })),
  ),
  loadBalancer:
    s.loadBalancer.mode === 'Standard' && s.loadBalancer.healthPolicy === 'OnlyHealthy'
      ? undefined
      : {
          routingPreferences: s.loadBalancer.preferences,
          mode: s.loadBalancer.mode,
          healthPolicy: s.loadBalancer.healthPolicy,
        },
  ipFamilies: s.ipFamilies === 'Automatic' ? undefined : s.ipFamilies,
  canonical: s.canonical || undefined,
  visibility: s.visibility,
})

/** A workload as one of a service's endpoints. */
export const dumpEndpoint = (w: Workload, service: ServiceKey): Json => ({
  workloadUid: w.uid,
  service,
  port: Object.fromEntries(w.services.get(service) ?? []),
  status: w.status,
})

const scopes = { global: 'Global', namespace: 'Namespace', 'workload-selector': 'WorkloadSelector' } as const

export const dumpPolicy = (p: Authorization): Json => ({
  name: p.name.slice(p.namespace.length + 1),
  namespace: p.namespace,
  scope: scopes[p.scope],
  action: p.action === 'allow' ? 'Allow' : 'Deny',
  rules: p.rules.map((rule) => rule.map((clause) => clause.map(dumpMatch))),
  dryRun: p.dryRun,
  problems: unlessEmpty(p.problems),
})

function dumpMatch(match: Match): Json {
  if (match === 'always' || match === 'never') return { unreadable: match }
  const { namespaces, principals, serviceAccounts, sourceIps, destinationIps, destinationPorts } = match
  return {
    namespaces: unlessEmpty(namespaces.any.map(dumpText)),
    notNamespaces: unlessEmpty(namespaces.none.map(dumpText)),
    serviceAccounts: unlessEmpty(serviceAccounts.any),
    notServiceAccounts: unlessEmpty(serviceAccounts.none),
    principals: unlessEmpty(principals.any.map(dumpText)),
    notPrincipals: unlessEmpty(principals.none.map(dumpText)),
    sourceIps: unlessEmpty(sourceIps.any.map(blockText)),
    notSourceIps: unlessEmpty(sourceIps.none.map(blockText)),
    destinationIps: unlessEmpty(destinationIps.any.map(blockText)),
    notDestinationIps: unlessEmpty(destinationIps.none.map(blockText)),
    destinationPorts: unlessEmpty(destinationPorts.any),
    notDestinationPorts: unlessEmpty(destinationPorts.none),
  }
}

const dumpText = (text: TextMatch): Json =>
  text.kind === 'presence'
    ? { Presence: [] }
    : { [{ exact: 'Exact', prefix: 'Prefix', suffix: 'Suffix' }[text.kind]]: text.value }

const blockText = ({ bytes, length }: { bytes: Uint8Array; length: number }) =>
  `${ipFromBytes(bytes) ?? '?'}/${length}`
