import { type Collection, deriveMany, type Fetch, type KubeObject } from '#kube'
import type { Logger } from '#telemetry'
import type { workload } from '#wire'
import type { EntryContext } from './entries.ts'
import { entryService } from './entry-services.ts'
import { entryWorkload, inlineWorkloads } from './entry-workloads.ts'
import { type LabelKeys, labelKeysKey, withLabels } from './label-keys.ts'
import { gatewayWorkloads, type NetworkGateways, throughGateway } from './network-gateways.ts'
import type { OurObjects } from './our-objects.ts'
import { isForWaypoint } from './service-entry.ts'
import { meshService } from './services.ts'
import { allowingWaypoints, type Behind } from './waypoint-allowances.ts'
import { boundService, boundWorkload, type WithFailure } from './waypoint-fields.ts'
import { readMachine } from './workload-entry.ts'
import { endpointWorkloads, podWorkload, type WorkloadContext } from './workloads.ts'

/** Of pods, of endpoints without a pod, of WorkloadEntries, of the endpoints that ServiceEntries list, and of the gateways of other networks. */
export function workloadRows(
  context: WorkloadContext &
    WithFailure &
    Readonly<{
      ours: OurObjects
      waysIn: Behind | undefined
      gateways: NetworkGateways
      /** Absent where nobody asks for labels. */
      labelKeys: Collection<LabelKeys> | undefined
    }>,
  log: Readonly<{ log?: Logger }>,
): readonly Collection<workload.Workload>[] {
  const { inputs, entries, waysIn } = context
  const asked = (fetch: Fetch) => context.labelKeys && fetch.one(context.labelKeys, labelKeysKey)
  const bound = (row: workload.Workload | undefined, object: KubeObject, fetch: Fetch) => {
    if (row === undefined) return []
    const labelled = withLabels(row, object.metadata.labels, asked(fetch))
    return [allowingWaypoints(boundWorkload(labelled, object, fetch, context), fetch, waysIn)]
  }
  const outside = (row: workload.Workload, object: KubeObject, fetch: Fetch) =>
    bound(throughGateway(row, fetch, context), object, fetch)
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
        : outside(entryWorkload(entry, machine, fetch, context), machine.pod, fetch)
    },
    uid,
  )
  const inline = deriveMany(
    'ServiceEntryWorkloads',
    entries.entries,
    (entry, fetch) =>
      inlineWorkloads(entry, fetch, context).flatMap(({ row, pod }) => outside(row, pod, fetch)),
    uid,
  )
  return [pods, endpoints, machines, inline, gatewayWorkloads(context.gateways, context.settings)]
}

/** Of Kubernetes Services and of ServiceEntries; a name that both have is the former's. */
export function serviceRows(
  context: EntryContext & WithFailure & Readonly<{ ours: OurObjects }>,
  log: Readonly<{ log?: Logger }>,
): readonly Collection<workload.Service>[] {
  const { inputs, ours, settings, entries } = context
  const options = { ...log, keyOf: ({ namespace, hostname }: workload.Service) => `${namespace}/${hostname}` }
  const kubernetes = deriveMany(
    'KubernetesServices',
    ours.services,
    (service, fetch) => {
      const row = meshService(service, fetch, inputs, settings)
      return row === undefined
        ? []
        : [boundService(row, { kind: 'Service', object: service }, fetch, context)]
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
      const service = boundService(row, { kind: 'ServiceEntry', object }, fetch, context)
      return isForWaypoint(claim.entry) && service.waypoint === undefined ? [] : [service]
    },
    options,
  )
  return [kubernetes, external]
}
