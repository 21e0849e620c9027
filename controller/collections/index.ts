import { type Collection, type Condition, derive, join, type Traceable } from '#kube'
import type { Logger } from '#telemetry'
import type { workload } from '#wire'
import { entriesFrom } from './entries.ts'
import { entryConditions, machineConditions } from './entry-conditions.ts'
import { indexesOf, type Inputs } from './inputs.ts'
import { serviceRows, workloadRows } from './mesh-rows.ts'
import type { LabelKeys } from './label-keys.ts'
import { networkGateways } from './network-gateways.ts'
import { type OurObjects, ourObjects } from './our-objects.ts'
import { type Policies, policiesFrom } from './policies.ts'
import {
  addressOfService,
  addressOfWorkload,
  authorizationResource,
  encoded,
  type MeshResource,
  targetedPolicies,
} from './resources.ts'
import type { ServiceEntry } from './service-entry.ts'
import type { Settings } from './settings.ts'
import { hiddenNamespaces } from './visibility.ts'
import { behind } from './waypoint-allowances.ts'
import type { Unbound } from './waypoint-binding.ts'
import { attachedTo } from './waypoint-failure.ts'
import { looseNamespaces, type WaypointReference, waypointReferences } from './waypoint-references.ts'
import { type Waypoint, waypointsFrom } from './waypoints.ts'
import { localityOf } from './workloads.ts'

export type { CompiledPolicy } from './authorization-policy.ts'
export {
  type Gateway,
  type GatewayAddress,
  letsIn,
  type Listener,
  readGateway,
  type Words,
} from './gateway.ts'
export type { Inputs } from './inputs.ts'
export { type MeshResource, nodeKey } from './resources.ts'
export { readServiceEntry, seenThrough, type ServiceEntry } from './service-entry.ts'
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
/** The labels of pods that routes tell workloads apart by. */
export { type LabelAskers, labelKeys, type LabelKeys } from './label-keys.ts'
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
  /** Policies with targets, for waypoints. */
  targetedPolicies: Collection<MeshResource>
  /** Every collection by its name, for those who look into a running controller; see `explainRow` of lib/kube. */
  collections: ReadonlyMap<string, Traceable>
}>

/** Kubernetes objects → the mesh's resources. `asked`: the labels of pods that are told. Everything here is a pure row; nothing writes. */
export function meshFrom(
  inputs: Inputs,
  settings: Settings,
  log?: Logger,
  asked?: Collection<LabelKeys>,
): Mesh {
  const options = log === undefined ? {} : { log }
  const indexes = indexesOf(inputs)
  const hidden = hiddenNamespaces(inputs)
  const ours = ourObjects(inputs, hidden, settings)
  const waypoints = waypointsFrom({ ...inputs, ...ours }, settings)
  const localities = derive('Localities', inputs.nodes, localityOf, options)
  const entries = entriesFrom(inputs, ours, log)
  const bases = { inputs, ours, settings, entries, waypoints }
  const policies = policiesFrom(bases, options)
  const { rootNamespace, domain } = settings
  const failure = { attached: policies.compiled.indexBy(attachedTo), rootNamespace, domain }
  const bounds = { ...bases, failure }
  const ofServices = serviceRows(bounds, options)
  const services = join('Services', ofServices)
  const waysIn = behind(services, waypoints, settings)
  const { policiesOf } = policies
  const gateways = networkGateways(ours)
  const ofPods = { indexes, hidden, localities, policiesOf }
  const ofWorkloads = workloadRows(
    { ...bases, ...ofPods, failure, waysIn, gateways, labelKeys: asked },
    options,
  )
  const workloads = join('Workloads', ofWorkloads)
  const encodedRows = [
    encoded('WorkloadAddresses', workloads, addressOfWorkload),
    encoded('ServiceAddresses', services, addressOfService),
  ]
  const tables = {
    workloads,
    services,
    serviceEntries: entries.entries,
    entryConditions: entryConditions(ours, bounds, options),
    hiddenNamespaces: hidden,
    waypoints,
    waypointReferences: waypointReferences(ours, bounds),
    looseNamespaces: looseNamespaces(bases, hidden),
    machineConditions: machineConditions(ours, bounds, options),
    addresses: join('Addresses', encodedRows),
    authorizations: encoded('AuthorizationResources', policies.authorizations, authorizationResource),
    targetedPolicies: targetedPolicies(policies.compiled, settings),
  }
  const roots = [...Object.values(inputs), ...Object.values(ours), localities, gateways.rows]
  const keys = asked === undefined ? [] : [asked]
  const steps = [...entries.steps, ...policies.steps, ...ofServices, ...ofWorkloads, ...encodedRows]
  const all: readonly Traceable[] = [...roots, ...keys, ...steps, ...Object.values(tables)]
  const collections = new Map(all.map((collection) => [collection.name, collection]))
  return { ...tables, ours, policies, collections }
}
