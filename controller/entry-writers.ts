import { kinds } from '#kube'
import { conditionWriter, vipWriter, type Writer } from './reconcile/index.ts'
import type { Scope, WriterOptions } from './writers.ts'

const types = [
  'istio.io/VisibilityApplied',
  'istio.io/WaypointBound',
  'istio.io/WaypointMissing',
  'lateen.dev/Served',
]
const machineTypes = ['istio.io/WaypointBound', 'lateen.dev/Served']

/** What the leader writes into the status of ServiceEntries and WorkloadEntries. */
export const entryWriters = (
  { client, mesh, vipRanges, log }: WriterOptions,
  scope: Scope,
): readonly Writer[] => [
  vipWriter({
    client,
    objects: mesh.ours.serviceEntries,
    entries: mesh.serviceEntries,
    hidden: mesh.hiddenNamespaces,
    ranges: vipRanges,
    scope,
    log,
  }),
  conditionWriter({
    client,
    kind: kinds.ServiceEntry,
    objects: mesh.ours.serviceEntries,
    also: mesh.entryConditions,
    wanted: (_, key) => ({ types, conditions: mesh.entryConditions.get(key) ?? [] }),
    scope,
    fieldManager: 'istio-ambient-service',
    log,
  }),
  conditionWriter({
    client,
    kind: kinds.WorkloadEntry,
    objects: mesh.ours.workloadEntries,
    also: mesh.machineConditions,
    wanted: (_, key) => ({ types: machineTypes, conditions: mesh.machineConditions.get(key) ?? [] }),
    scope,
    fieldManager: 'istio-ambient-workloadentry',
    log,
  }),
]
