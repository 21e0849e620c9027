import { type Collection, type Condition, derive, type Fetch } from '#kube'
import type { Logger } from '#telemetry'
import { type EntryContext, type Rival, rivalOf } from './entries.ts'
import type { OurObjects } from './our-objects.ts'
import { isForWaypoint, type ServiceEntry } from './service-entry.ts'
import type { EntryVisibility } from './settings.ts'
import type { WithFailure } from './waypoint-fields.ts'
import { referenceOf } from './waypoint-references.ts'
import { readMachine } from './workload-entry.ts'

type Context = EntryContext & WithFailure
type Options = Readonly<{ log?: Logger }>

/** By ServiceEntry of ours, what its status shall say: who sees it, its waypoint, and what of it is not served. */
export const entryConditions = (
  { serviceEntries }: OurObjects,
  context: Context,
  options: Options,
): Collection<readonly Condition[]> =>
  derive(
    'EntryConditions',
    serviceEntries,
    (object, fetch, key): readonly Condition[] | undefined => {
      const entry = fetch.one(context.entries.entries, key)
      if (entry === undefined) return undefined
      const visibility = context.entries.visibilityOf(entry, fetch)
      const target = { kind: 'service', seenInNamespaceOnly: visibility === 'namespace' } as const
      const bound = referenceOf('ServiceEntry', object, target, fetch, context)?.condition
      return [
        visibilityCondition(entry, visibility),
        bound,
        isForWaypoint(entry) && bound?.status !== 'True' ? waypointMissing : undefined,
        servedCondition(entry, fetch, context),
      ].filter((condition) => condition !== undefined)
    },
    options,
  )

/** By WorkloadEntry of ours likewise. */
export const machineConditions = (
  { workloadEntries }: OurObjects,
  context: WithFailure,
  options: Options,
): Collection<readonly Condition[]> =>
  derive(
    'MachineConditions',
    workloadEntries,
    (object, fetch): readonly Condition[] | undefined => {
      const machine = readMachine(object)
      const reference = machine && referenceOf('workload', machine.pod, { kind: 'workload' }, fetch, context)
      if (machine !== undefined) return reference && [reference.condition]
      return [served(false, 'Invalid', ['spec.address: neither an IP address nor a host name'])]
    },
    options,
  )

const seenBy: Readonly<Record<EntryVisibility, Pick<Condition, 'status' | 'reason' | 'message'>>> = {
  everybody: { status: 'True', reason: 'Public', message: 'seen by all namespaces' },
  namespace: { status: 'True', reason: 'Namespace', message: 'seen by its own namespace only' },
  nobody: {
    status: 'False',
    reason: 'None',
    message:
      'seen by nobody: exportTo says so, or serviceEntryVisibility or defaultServiceExportTo of the mesh',
  },
}
function visibilityCondition({ exportTo, exportedTo }: ServiceEntry, visibility: EntryVisibility): Condition {
  const { message = '', ...rest } = seenBy[visibility]
  const more =
    exportTo === 'everybody' && exportedTo.length > 0
      ? `; exportTo of single namespaces (${exportedTo.join(', ').slice(0, 200)}) is not narrower, as ztunnel knows only "." and "*"`
      : ''
  return { type: 'istio.io/VisibilityApplied', ...rest, message: `${message}${more}` }
}

const waypointMissing: Condition = {
  type: 'istio.io/WaypointMissing',
  status: 'True',
  reason: 'NoWaypointForWildcardService',
  message:
    'resolution DYNAMIC_DNS is what a waypoint does; without one nothing of this ServiceEntry is served (label istio.io/use-waypoint)',
}

/** Hosts that others have, and what cannot be read; nothing while everything is served as written. */
function servedCondition(entry: ServiceEntry, fetch: Fetch, context: Context): Condition | undefined {
  const lost = entry.hosts.flatMap((host) => {
    const claim = fetch.one(context.entries.claims, `${entry.key}/${host}`)
    const rival = claim && rivalOf(claim, fetch, context)
    return rival === undefined ? [] : [`${host} is served as ${rivalText(rival)}`]
  })
  const sentences = [...entry.problems, ...entry.unserved, ...lost]
  if (sentences.length === 0) return undefined
  const some = lost.length < entry.hosts.length
  if (entry.problems.length > 0) return served(some, some ? 'PartiallyInvalid' : 'Invalid', sentences)
  return served(some, lost.length > 0 ? 'HostConflict' : 'Unsupported', sentences)
}

const served = (some: boolean, reason: string, sentences: readonly string[]): Condition => ({
  type: 'lateen.dev/Served',
  status: some ? 'True' : 'False',
  reason,
  message: sentences.join('; ').slice(0, maxMessage),
})

const maxMessage = 1024
const rivalText = ({ kind, key }: Rival): string =>
  kind === 'Service' ? `Service ${key}, which has the name` : `ServiceEntry ${key} says, which is older`
