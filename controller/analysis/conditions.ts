import type { Collection, Condition } from '#kube'
import { conditionsOf } from '../reconcile/index.ts'
import { message, type Message } from './message.ts'
import { resourceOf } from './resource.ts'
import { isGatewayApi, type World } from './world.ts'

/** Something that an object refers to is not there. */
const missing: ReadonlySet<string> = new Set([
  'BackendNotFound',
  'NoMatchingParent',
  'NoMatchingService',
  'TargetNotFound',
])

/** What the status of each object says that somebody should know: by the code that writes it, not as it was written last. */
export function conditionMessages({ mesh, routes, telemetry, objects }: World): readonly Message[] {
  const own: readonly (readonly [string, Collection<readonly Condition[]>])[] = [
    ['AuthorizationPolicy', mesh.policies.policyConditions],
    ['PeerAuthentication', mesh.policies.peerConditions],
    ['ServiceEntry', mesh.entryConditions],
    ['WorkloadEntry', mesh.machineConditions],
    ...Object.entries(routes.conditions),
    ['Telemetry', telemetry.conditions],
  ]
  const ofServices = mesh.waypointReferences
    .keys()
    .flatMap((key) => told(`Service ${key}`, [mesh.waypointReferences.get(key)?.condition].filter(isThere)))
  const ofRoutes = Object.entries(routes.statuses).flatMap(([kind, rows]) =>
    rows
      .keys()
      .flatMap((key) =>
        (rows.get(key) ?? []).flatMap(({ conditions }) => told(`${kind} ${key}`, conditions)),
      ),
  )
  // How far a Gateway has come depends on more than objects, so what was written counts.
  const ofGateways = objects
    .filter((one) => one.kind === 'Gateway' && isGatewayApi(one))
    .flatMap((one: { status?: unknown } & (typeof objects)[number]) =>
      told(resourceOf(one), conditionsOf(one.status)),
    )
  const ofNamespaces = mesh.looseNamespaces
    .list()
    .map(({ reference, why }, nth) =>
      message(
        'ReferencedResourceNotFound',
        `Namespace ${mesh.looseNamespaces.keys()[nth]}`,
        `waypoint ${reference}: ${why}; its traffic stays at L4`,
      ),
    )
  return [
    ...own.flatMap(([kind, rows]) =>
      rows.keys().flatMap((key) => told(`${kind} ${key}`, rows.get(key) ?? [])),
    ),
    ...ofServices,
    ...ofRoutes,
    ...ofGateways,
    ...ofNamespaces,
  ]
}

const isThere = <T>(one: T | undefined): one is T => one !== undefined

const told = (resource: string, conditions: readonly Condition[]): readonly Message[] =>
  conditions
    .filter(isBad)
    .map(({ type, status, reason = '', message: why = '' }) =>
      missing.has(reason)
        ? message('ReferencedResourceNotFound', resource, why)
        : message('NegativeConditionStatus', resource, `${type}=${status} (${reason}): ${why}`),
    )

const isBad = ({ type, status, reason }: Condition): boolean =>
  status === 'False' || reason === 'PartiallyInvalid' || type.endsWith('PartiallyInvalid')
