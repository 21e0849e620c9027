import { type Collection, type Condition, derive, deriveMany, join, type Traceable } from '#kube'
import type { Logger } from '#telemetry'
import type { workload } from '#wire'
import { entriesFrom, type EntryContext } from './entries.ts'
import { entryService } from './entry-services.ts'
import { entryWorkload, inlineWorkloads } from './entry-workloads.ts'
import { indexesOf, type Inputs, namespaceOf } from './inputs.ts'
import { type Policies, policiesFrom } from './policies.ts'
import {
  addressOfService,
  addressOfWorkload,
  authorizationResource,
  encoded,
  type MeshResource,
} from './resources.ts'
import type { ServiceEntry } from './service-entry.ts'
import { meshService } from './services.ts'
import type { Settings } from './settings.ts'
import { hiddenNamespaces } from './visibility.ts'
import { boundService, boundWorkload, type WithWaypoints } from './waypoint-fields.ts'
import { type WaypointReference, waypointReferences } from './waypoint-references.ts'
import { type Waypoint, waypointsFrom } from './waypoints.ts'
import { endpointWorkloads, localityOf, podWorkload, type WorkloadContext } from './workloads.ts'

export type { CompiledPolicy } from './authorization-policy.ts'
export {
  type Gateway,
  type GatewayAddress,
  type Listener,
  readGateway,
  type Words,
} from './gateway.ts'
export type { Inputs } from './inputs.ts'
export { type MeshResource, nodeKey } from './resources.ts'
export { isWildcard, readServiceEntry, type ServiceEntry } from './service-entry.ts'
export { isOlder } from './entries.ts'
export { type LabelSelector, parseLabelSelector } from './label-selector.ts'
export {
  defaultLiveSettings,
  type EntryVisibility,
  liveKey,
  type LiveSettings,
  type Settings,
} from './settings.ts'
export type { WaypointReference } from './waypoint-references.ts'
export { isTerminal } from './workloads.ts'

/** Everything that is derived from the Kubernetes objects. */
export type Mesh = Readonly<{
  workloads: Collection<workload.Workload>
  services: Collection<workload.Service>
  policies: Policies
  serviceEntries: Collection<ServiceEntry>
  /** By ServiceEntry, what its status shall say. */
  entryConditions: Collection<readonly Condition[]>
  /** Namespaces that we do not look at. */
  hiddenNamespaces: Collection<true>
  /** Gateways that something can be bound to. */
  waypoints: Collection<Waypoint>
  waypointReferences: Collection<WaypointReference>
  /** Workloads and services as xDS resources. */
  addresses: Collection<MeshResource>
  authorizations: Collection<MeshResource>
  /** Every collection by its name, for those who look into a running controller; see `explainRow` of lib/kube. */
  collections: ReadonlyMap<string, Traceable>
}>

/** Kubernetes objects → the mesh's resources. Everything here is a pure row; nothing writes. */
export function meshFrom(inputs: Inputs, settings: Settings, log?: Logger): Mesh {
  const options = log === undefined ? {} : { log }
  const indexes = indexesOf(inputs)
  const policies = policiesFrom(inputs, settings, log)
  const localities = derive('Localities', inputs.nodes, localityOf, options)
  const hidden = hiddenNamespaces(inputs)
  const entries = entriesFrom(inputs, hidden, log)
  const { policiesOf } = policies
  const waypoints = waypointsFrom(inputs, settings)
  const context = { inputs, indexes, settings, entries, hidden, localities, policiesOf, waypoints }
  const workloads = workloadsFrom(context, options)
  const services = servicesFrom(context, options)
  const tables = {
    workloads,
    services,
    serviceEntries: entries.entries,
    entryConditions: entries.conditions,
    hiddenNamespaces: hidden,
    waypoints,
    waypointReferences: waypointReferences(inputs, waypoints),
    addresses: join('Addresses', [
      encoded('WorkloadAddresses', workloads, addressOfWorkload),
      encoded('ServiceAddresses', services, addressOfService),
    ]),
    authorizations: encoded('AuthorizationResources', policies.authorizations, authorizationResource),
  }
  const { compiled, peerModes, authorizations } = policies
  const ours = [...Object.values(tables), localities, entries.claims, compiled, peerModes, authorizations]
  const collections = new Map<string, Traceable>()
  for (const collection of [...Object.values(inputs), ...ours]) collections.set(collection.name, collection)
  return { ...tables, policies, collections }
}

/** Of pods, of endpoints without a pod, of WorkloadEntries, and of the endpoints that ServiceEntries list. */
function workloadsFrom(
  context: WorkloadContext & WithWaypoints,
  log: Readonly<{ log?: Logger }>,
): Collection<workload.Workload> {
  const { inputs, entries } = context
  const uid = { ...log, keyOf: (row: workload.Workload) => row.uid }
  const pods = deriveMany(
    'PodWorkloads',
    inputs.pods,
    (pod, fetch) => boundWorkload(podWorkload(pod, fetch, context), pod, fetch, context),
    uid,
  )
  const endpoints = deriveMany(
    'EndpointWorkloads',
    inputs.slices,
    (slice, fetch) => endpointWorkloads(slice, fetch, context),
    uid,
  )
  const machines = deriveMany(
    'WorkloadEntryWorkloads',
    inputs.workloadEntries,
    (entry, fetch) => boundWorkload(entryWorkload(entry, fetch, context), entry, fetch, context),
    uid,
  )
  const inline = deriveMany(
    'ServiceEntryWorkloads',
    entries.entries,
    (entry, fetch) => inlineWorkloads(entry, fetch, context),
    uid,
  )
  return join('Workloads', [pods, endpoints, machines, inline])
}

/** Of Kubernetes Services and of ServiceEntries; a name that both have is the former's. */
function servicesFrom(
  context: EntryContext & WithWaypoints & Readonly<{ hidden: Collection<true> }>,
  log: Readonly<{ log?: Logger }>,
): Collection<workload.Service> {
  const { inputs, settings, hidden, entries } = context
  const options = { ...log, keyOf: ({ namespace, hostname }: workload.Service) => `${namespace}/${hostname}` }
  const kubernetes = deriveMany(
    'KubernetesServices',
    inputs.services,
    (service, fetch) =>
      fetch.one(hidden, namespaceOf(service)) === undefined
        ? boundService(meshService(service, fetch, inputs, settings), service, fetch, context)
        : [],
    options,
  )
  const external = deriveMany(
    'EntryServices',
    entries.claims,
    (claim, fetch) => {
      const object = fetch.one(inputs.serviceEntries, claim.entry.key)
      return boundService(entryService(claim, fetch, context), object, fetch, context)
    },
    options,
  )
  return join('Services', [kubernetes, external])
}
