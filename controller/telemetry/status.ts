import { type Collection, type Condition, derive, type Fetch } from '#kube'
import type { TelemetryObject } from './object.ts'
import { levelsOf, meshOf, type TelemetryTables, winner } from './tables.ts'

/** Istio has no conditions for Telemetry; hence our own name. */
export const telemetryConditionTypes = ['lateen.dev/Accepted']

const maxMessage = 1_024
const accepted = (status: 'True' | 'False', reason: string, message: string): Condition => ({
  type: 'lateen.dev/Accepted',
  status,
  reason,
  message: message.length > maxMessage ? `${message.slice(0, maxMessage - 1)}…` : message,
})

/** What the owner of each object is told; `read` is each as it is now. */
export const telemetryStatuses = (
  read: Collection<TelemetryObject>,
  tables: TelemetryTables,
): Collection<readonly Condition[]> =>
  derive('TelemetryStatuses', read, (one, fetch): readonly Condition[] => [statusOf(one, fetch, tables)])

function statusOf(one: TelemetryObject, fetch: Fetch, tables: TelemetryTables): Condition {
  if (one.problems.length > 0) {
    const stays =
      fetch.one(tables.objects, one.key) === undefined ? '' : ' (what it said before still counts)'
    return accepted('False', 'Invalid', `${one.problems.join('; ')}${stays}`)
  }
  if (one.hasSelector && one.targets.length === 0)
    return accepted('False', 'UnsupportedValue', 'spec.selector: chooses no waypoint; targetRefs do')
  const losers = levelsOf(one).flatMap((level) => {
    const first = winner(level, fetch, tables)
    return first === undefined || first.key === one.key
      ? []
      : [`${level.split('|').join(' ').trim()}: ${first.key} is older`]
  })
  const remarks = [...one.remarks, ...unknownProviders(one, fetch, tables)]
  if (losers.length > 0 && losers.length === levelsOf(one).length)
    return accepted('False', 'Conflicted', losers.join('; '))
  const said = [...losers, ...remarks]
  return said.length === 0
    ? accepted('True', 'Accepted', 'followed by waypoints')
    : accepted('True', 'PartiallyInvalid', `followed by waypoints, but: ${said.join('; ')}`)
}

function unknownProviders(one: TelemetryObject, fetch: Fetch, tables: TelemetryTables): readonly string[] {
  const { loggers, others } = meshOf(fetch, tables)
  return [...new Set(one.logging.flatMap(({ providers }) => providers))]
    .filter((name) => !loggers.has(name))
    .map((name) => {
      const kind = others.get(name)
      return kind === undefined
        ? `no extension provider is called ${name}`
        : `${name} is of kind ${kind}, to which waypoints do not write logs`
    })
}
