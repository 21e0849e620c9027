import { type Collection, deriveMany, type Fetch, fixed, type Index } from '#kube'
import { security, type workload } from '#wire'
import { nameOfPolicy } from './authorization-policy.ts'
import type { Inputs } from './inputs.ts'
import { onlyPrincipals } from './match.ts'
import { labels, type Settings } from './settings.ts'
import type { Waypoint } from './waypoints.ts'

/**
 * Where the mesh wants it (PILOT_AUTO_ALLOW_WAYPOINT_POLICY): for each waypoint a policy that allows the identities of
 * its pods. Who is behind the waypoint names it, and so refuses everybody else unless another policy allows him. A
 * waypoint without pods allows nobody (Istio has no policy then, and so nothing is refused).
 */
export function waypointAllowances(
  { pods }: Inputs,
  waypoints: Collection<Waypoint>,
  settings: Settings,
): Collection<security.Authorization> {
  if (!settings.allowWaypoints) return fixed('WaypointAllowances', {})
  const instances = pods.indexBy(({ metadata }) => {
    const gateway = metadata.labels?.[labels.gatewayName]
    return gateway ? [`${metadata.namespace ?? ''}/${gateway}`] : []
  })
  return deriveMany(
    'WaypointAllowances',
    waypoints,
    (waypoint, fetch) => {
      const accounts = fetch
        .by(instances, waypoint.key)
        .map(({ spec }) => spec?.serviceAccountName || 'default')
      return [allowance(waypoint, [...new Set(accounts)].sort(), settings)]
    },
    { keyOf: nameOfPolicy },
  )
}

/** Kubernetes names have no underscore, so it cannot collide with a user's policy. */
const nameFor = ({ namespace, name }: Waypoint): string => `istio_allow_waypoint_${namespace}_${name}`

function allowance(
  waypoint: Waypoint,
  accounts: readonly string[],
  { trustDomain }: Settings,
): security.Authorization {
  const principals = accounts.map((account) => `${trustDomain}/ns/${waypoint.namespace}/sa/${account}`)
  return {
    name: nameFor(waypoint),
    namespace: waypoint.namespace,
    scope: security.Scope.WORKLOAD_SELECTOR,
    action: security.Action.ALLOW,
    rules: accounts.length === 0 ? [] : [{ clauses: [{ matches: [onlyPrincipals(principals)] }] }],
    dryRun: false,
    extensions: [],
  }
}

/** What a workload has to look up to know the waypoints that it is behind; absent where nobody wants the policies. */
export type Behind = Readonly<{ services: Collection<workload.Service>; byDestination: Index<Waypoint> }>

export const behind = (
  services: Collection<workload.Service>,
  waypoints: Collection<Waypoint>,
  { allowWaypoints }: Settings,
): Behind | undefined =>
  allowWaypoints
    ? { services, byDestination: waypoints.indexBy(({ destination }) => [textOf(destination)]) }
    : undefined

/** The row with the policies of its own waypoint, and of those of its services, besides its others. */
export function allowingWaypoints(
  row: workload.Workload,
  fetch: Fetch,
  context: Behind | undefined,
): workload.Workload {
  if (context === undefined) return row
  const destinations = [
    row.waypoint,
    ...Object.keys(row.services).flatMap((name) => {
      const service = fetch.one(context.services, name)
      return [service?.waypoint, ...(service?.weightedWaypoints ?? []).map(({ destination }) => destination)]
    }),
  ].filter((destination) => destination !== undefined)
  const names = [...new Set(destinations.map(textOf))]
    .flatMap((text) => fetch.by(context.byDestination, text))
    .map((waypoint) => `${waypoint.namespace}/${nameFor(waypoint)}`)
  if (names.length === 0) return row
  return { ...row, authorizationPolicies: [...row.authorizationPolicies, ...names].sort() }
}

const textOf = ({ destination }: workload.GatewayAddress): string => {
  switch (destination?.$case) {
    case 'hostname':
      return `${destination.value.namespace}/${destination.value.hostname}`
    case 'address':
      return `${destination.value.network} ${destination.value.address.toString('hex')}`
    case undefined:
      return ''
  }
}
