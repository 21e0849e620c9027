import type { Change, Condition } from '#kube'
import type { Logger } from '#telemetry'
import type { Inputs, Mesh } from './collections/index.ts'

const useWaypoint = 'istio.io/use-waypoint'

/** What is written but not enforced is said in the log too, for objects without a status and for readers without rights. */
export function logFindings(inputs: Inputs, { policies, serviceEntries }: Mesh, log: Logger): Disposable {
  const stack = new DisposableStack()
  const notAsWritten = (kind: string) => (changes: readonly Change<readonly Condition[]>[]) => {
    for (const { key, old = [], row = [] } of changes)
      for (const { type, reason, message } of row) {
        if (reason === 'Accepted' || old.some((before) => before.message === message)) continue
        log.warn('policy not enforced as written', { kind, policy: key, type, reason, message })
      }
  }
  stack.use(policies.policyConditions.subscribe(notAsWritten('AuthorizationPolicy')))
  stack.use(policies.peerConditions.subscribe(notAsWritten('PeerAuthentication')))
  stack.use(
    serviceEntries.subscribe((changes) => {
      for (const { key, old, row } of changes)
        for (const problem of row?.problems ?? [])
          if (old?.problems.includes(problem) !== true)
            log.warn('ServiceEntry not served as written', { key, problem })
    }),
  )
  const waypointLabel =
    (kind: string) =>
    (changes: readonly Change<{ metadata: { labels?: Readonly<Record<string, string>> } }>[]) => {
      for (const { key, old, row } of changes) {
        const waypoint = row?.metadata.labels?.[useWaypoint]
        if (!waypoint || waypoint === 'none' || waypoint === old?.metadata.labels?.[useWaypoint]) continue
        log.warn(
          'waypoint asked for; this release brings no waypoint program, so traffic stays at L4 unless another serves it',
          {
            kind,
            key,
            waypoint,
          },
        )
      }
    }
  stack.use(inputs.pods.subscribe(waypointLabel('Pod')))
  stack.use(inputs.namespaces.subscribe(waypointLabel('Namespace')))
  return stack
}
