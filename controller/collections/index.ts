import {
  type Collection,
  type Condition,
  derive,
  deriveMany,
  type Fetch,
  join,
  type KubeObject,
  type Traceable,
} from '#kube'
import type { Logger } from '#telemetry'
import type { workload } from '#wire'
import { entriesFrom, type EntryContext } from './entries.ts'
import { entryConditions, machineConditions } from './entry-conditions.ts'
import { entryService } from './entry-services.ts'
import { entryWorkload, inlineWorkloads } from './entry-workloads.ts'
import { indexesOf, type Inputs } from './inputs.ts'
import { type OurObjects, ourObjects } from './our-objects.ts'
import { type Policies, policiesFrom } from './policies.ts'
import {
  addressOfService,
  addressOfWorkload,
  authorizationResource,
  encoded,
  type MeshResource,
} from './resources.ts'
import { isForWaypoint, type ServiceEntry } from './service-entry.ts'
import { meshService } from './services.ts'
import type { Settings } from './settings.ts'
import { hiddenNamespaces } from './visibility.ts'
import { allowingWaypoints, type Behind, behind } from './waypoint-allowances.ts'
import { boundService, boundWorkload, type WithWaypoints } from './waypoint-fields.ts'
import type { Unbound } from './waypoint-binding.ts'
import { looseNamespaces, type WaypointReference, waypointReferences } from './waypoint-references.ts'
import { type Waypoint, waypointsFrom } from './waypoints.ts'
import { readMachine } from './workload-entry.ts'
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
/** Which waypoint an object has, or why none. */
export { bindingOf, type Unbound } from './waypoint-binding.ts'
export type { WaypointReference } from './waypoint-references.ts'
export { isTerminal } from './workloads.ts'

/** Everything that is derived from the Kubernetes objects. */
export type Mesh = Readonly<{
  workloads: Collection<workload.Workload>
  services: Collection<workload.Service>
  policies: Policies
  serviceEntries: Collection<ServiceEntry>
  /** By ServiceEntry and by WorkloadEntry, what its status shall say. */
  entryConditions: Collection<readonly Condition[]>
  machineConditions: Collection<readonly Condition[]>
  /** Namespaces that we do not look at. */
  hiddenNamespaces: Collection<true>
  /** What of users' objects exists for us; status is written to these only. */
  ours: OurObjects
  /** Gateways that something can be bound to. */
  waypoints: Collection<Waypoint>
  /** Services that ask for one. */
  waypointReferences: Collection<WaypointReference>
  /** Namespaces whose label names a waypoint that they cannot have, and why. */
  looseNamespaces: Collection<Unbound>
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
  const hidden = hiddenNamespaces(inputs)
  const ours = ourObjects(inputs, hidden, settings)
  const waypoints = waypointsFrom({ ...inputs, ...ours }, settings)
  const localities = derive('Localities', inputs.nodes, localityOf, options)
  const entries = entriesFrom(inputs, ours, log)
  const bases = { inputs, ours, settings, entries, waypoints }
  const policies = policiesFrom(bases, options)
  const services = servicesFrom(bases, options)
  const waysIn = behind(services, waypoints, settings)
  const { policiesOf } = policies
  const workloads = workloadsFrom({ ...bases, indexes, hidden, localities, policiesOf, waysIn }, options)
  const tables = {
    workloads,
    services,
    serviceEntries: entries.entries,
    entryConditions: entryConditions(ours, bases, options),
    hiddenNamespaces: hidden,
    waypoints,
    waypointReferences: waypointReferences(ours, bases),
    looseNamespaces: looseNamespaces(bases, hidden),
    machineConditions: machineConditions(ours, bases, options),
    addresses: join('Addresses', [
      encoded('WorkloadAddresses', workloads, addressOfWorkload),
      encoded('ServiceAddresses', services, addressOfService),
    ]),
    authorizations: encoded('AuthorizationResources', policies.authorizations, authorizationResource),
  }
  const { compiled, peerModes, authorizations } = policies
  const derived = [...Object.values(tables), localities, entries.claims, compiled, peerModes, authorizations]
  const collections = new Map<string, Traceable>()
  for (const collection of [...Object.values(inputs), ...Object.values(ours), ...derived])
    collections.set(collection.name, collection)
  return { ...tables, ours, policies, collections }
}

/** Of pods, of endpoints without a pod, of WorkloadEntries, and of the endpoints that ServiceEntries list. */
function workloadsFrom(
  context: WorkloadContext & WithWaypoints & Readonly<{ ours: OurObjects; waysIn: Behind | undefined }>,
  log: Readonly<{ log?: Logger }>,
): Collection<workload.Workload> {
  const { inputs, entries, waysIn } = context
  const bound = (row: workload.Workload | undefined, object: KubeObject, fetch: Fetch) =>
    row === undefined ? [] : [allowingWaypoints(boundWorkload(row, object, fetch, context), fetch, waysIn)]
  const uid = { ...log, keyOf: (row: workload.Workload) => row.uid }
  const pods = deriveMany(
    'PodWorkloads',
    inputs.pods,
    (pod, fetch) => bound(podWorkload(pod, fetch, context), pod, fetch),
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
    context.ours.workloadEntries,
    (entry, fetch) => {
      const machine = readMachine(entry)
      return machine === undefined
        ? []
        : bound(entryWorkload(entry, machine, fetch, context), machine.pod, fetch)
    },
    uid,
  )
  const inline = deriveMany(
    'ServiceEntryWorkloads',
    entries.entries,
    (entry, fetch) =>
      inlineWorkloads(entry, fetch, context).flatMap(({ row, pod }) => bound(row, pod, fetch)),
    uid,
  )
  return join('Workloads', [pods, endpoints, machines, inline])
}

/** Of Kubernetes Services and of ServiceEntries; a name that both have is the former's. */
function servicesFrom(
  context: EntryContext & WithWaypoints & Readonly<{ ours: OurObjects }>,
  log: Readonly<{ log?: Logger }>,
): Collection<workload.Service> {
  const { inputs, ours, settings, entries } = context
  const options = { ...log, keyOf: ({ namespace, hostname }: workload.Service) => `${namespace}/${hostname}` }
  const kubernetes = deriveMany(
    'KubernetesServices',
    ours.services,
    (service, fetch) => {
      const row = meshService(service, fetch, inputs, settings)
      return row === undefined ? [] : [boundService(row, service, fetch, context)]
    },
    options,
  )
  const external = deriveMany(
    'EntryServices',
    entries.claims,
    (claim, fetch) => {
      const object = fetch.one(ours.serviceEntries, claim.entry.key)
      const row = entryService(claim, fetch, context)
      if (row === undefined || object === undefined) return []
      const service = boundService(row, object, fetch, context)
      return isForWaypoint(claim.entry) && service.waypoint === undefined ? [] : [service]
    },
    options,
  )
  return join('Services', [kubernetes, external])
}
