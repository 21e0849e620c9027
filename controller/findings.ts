import type { Change, Collection, Condition, Pod } from '#kube'
import type { Logger } from '#telemetry'
import { bindingOf, type Inputs, type Mesh, type Settings } from './collections/index.ts'

/** What is written but not enforced is said in the log too, for objects without a status and for readers without rights. */
export function logFindings(inputs: Inputs, mesh: Mesh, settings: Settings, log: Logger): Disposable {
  const stack = new DisposableStack()
  const { policies } = mesh
  const asWritten = ({ reason }: Condition) => reason === 'Accepted'
  const say = (kind: string, conditions: Collection<readonly Condition[]>, isFine: typeof asWritten) =>
    stack.use(conditions.subscribe(newConditions(kind, isFine, log)))
  say('AuthorizationPolicy', policies.policyConditions, asWritten)
  say('PeerAuthentication', policies.peerConditions, asWritten)
  say('ServiceEntry', mesh.entryConditions, isWellServed)
  say('WorkloadEntry', mesh.machineConditions, isWellServed)
  stack.use(inputs.pods.subscribe((changes) => waypointsOfPods(changes, inputs, mesh, log)))
  stack.use(
    mesh.looseNamespaces.subscribe((changes) => {
      for (const { key, row } of changes)
        if (row !== undefined)
          log.warn('a namespace asks for a waypoint that it cannot have; its traffic stays at L4', {
            namespace: key,
            waypoint: row.reference,
            reason: row.reason,
            why: row.why,
          })
    }),
  )
  stack.use(mesh.hiddenNamespaces.subscribe((changes) => ofRoot(changes, settings, log)))
  return stack
}

const isWellServed = ({ type, status, message = '' }: Condition): boolean =>
  type === 'istio.io/VisibilityApplied'
    ? !message.includes('exportTo of single')
    : type === 'istio.io/WaypointBound' && status === 'True'

const newConditions =
  (kind: string, isFine: (condition: Condition) => boolean, log: Logger) =>
  (changes: readonly Change<readonly Condition[]>[]) => {
    for (const { key, old = [], row = [] } of changes)
      for (const condition of row) {
        const { type, reason, message } = condition
        if (isFine(condition) || old.some((before) => before.type === type && before.message === message))
          continue
        log.warn('not served or enforced as written', { kind, key, type, reason, why: message })
      }
  }

const useWaypoint = 'istio.io/use-waypoint'

/** A pod has no status of ours: said when its own label is new. */
function waypointsOfPods(
  changes: readonly Change<Pod>[],
  { namespaces }: Inputs,
  { waypoints }: Mesh,
  log: Logger,
): void {
  const now = { one: <T>(from: Collection<T>, key: string) => from.get(key) }
  for (const { key, old, row } of changes) {
    const label = row?.metadata.labels?.[useWaypoint]
    if (row === undefined || label === undefined || label === old?.metadata.labels?.[useWaypoint]) continue
    const binding = bindingOf(row, { kind: 'workload' }, now, { waypoints, namespaces })
    if (binding.kind !== 'unbound') continue
    const { reference: waypoint, reason, why } = binding
    log.warn('a pod asks for a waypoint that it has not', { pod: key, waypoint, reason, why })
  }
}

/** Istio knows no exception, so this is easily done by mistake: everything mesh-wide is gone. */
function ofRoot(
  changes: readonly Change<true>[],
  { rootNamespace }: Pick<Settings, 'rootNamespace'>,
  log: Logger,
): void {
  for (const { key, row } of changes)
    if (key === rootNamespace && row !== undefined)
      log.error('discoverySelectors leave out the root namespace: policies of the whole mesh do not hold', {
        rootNamespace: key,
      })
}
