import { type Collection, derive, deriveMany, join } from '#kube'
import type { Logger } from '#telemetry'
import type { workload } from '#wire'
import { indexesOf, type Inputs } from './inputs.ts'
import { type Policies, policiesFrom } from './policies.ts'
import {
  addressOfService,
  addressOfWorkload,
  authorizationResource,
  encoded,
  type MeshResource,
} from './resources.ts'
import { meshService } from './services.ts'
import type { Settings } from './settings.ts'
import { type WaypointReference, waypointReferences } from './waypoint-references.ts'
import { endpointWorkloads, localityOf, podWorkload } from './workloads.ts'

export type { CompiledPolicy } from './authorization-policy.ts'
export type { Inputs } from './inputs.ts'
export { type MeshResource, nodeKey } from './resources.ts'
export type { Settings } from './settings.ts'
export type { WaypointReference } from './waypoint-references.ts'
export { isTerminal } from './workloads.ts'

/** Everything that is derived from the Kubernetes objects. */
export type Mesh = Readonly<{
  workloads: Collection<workload.Workload>
  services: Collection<workload.Service>
  policies: Policies
  waypointReferences: Collection<WaypointReference>
  /** Workloads and services as xDS resources. */
  addresses: Collection<MeshResource>
  authorizations: Collection<MeshResource>
}>

/** Kubernetes objects → the mesh's resources. Everything here is a pure row; nothing writes. */
export function meshFrom(inputs: Inputs, settings: Settings, log?: Logger): Mesh {
  const options = log === undefined ? {} : { log }
  const indexes = indexesOf(inputs)
  const policies = policiesFrom(inputs, settings, log)
  const localities = derive('Localities', inputs.nodes, localityOf, options)
  const context = { inputs, indexes, settings, localities, policiesOf: policies.policiesOf }
  const uid = { ...options, keyOf: (row: workload.Workload) => row.uid }
  const pods = deriveMany(
    'PodWorkloads',
    inputs.pods,
    (pod, fetch) => [podWorkload(pod, fetch, context)].filter((row) => row !== undefined),
    uid,
  )
  const endpoints = deriveMany(
    'EndpointWorkloads',
    inputs.slices,
    (slice, fetch) => endpointWorkloads(slice, fetch, context),
    uid,
  )
  const workloads = join('Workloads', [pods, endpoints])
  const services = deriveMany(
    'Services',
    inputs.services,
    (service, fetch) => [meshService(service, fetch, inputs, settings)].filter((row) => row !== undefined),
    { ...options, keyOf: ({ namespace, hostname }) => `${namespace}/${hostname}` },
  )
  return {
    workloads,
    services,
    policies,
    waypointReferences: waypointReferences(inputs),
    addresses: join('Addresses', [
      encoded('WorkloadAddresses', workloads, addressOfWorkload),
      encoded('ServiceAddresses', services, addressOfService),
    ]),
    authorizations: encoded('AuthorizationResources', policies.authorizations, authorizationResource),
  }
}
