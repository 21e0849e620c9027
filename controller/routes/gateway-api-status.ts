import { isRecord } from '#base'
import { type Collection, type Condition, derive, type Fetch } from '#kube'
import type { Inputs } from '../collections/index.ts'
import { httpAttachments, isHttp, judgeParent, type ParentVerdict } from './gateway-api-attach.ts'
import { resolveBackend } from './gateway-api-backends.ts'
import type { HttpRoute } from './gateway-api-http.ts'
import type { L4Route } from './gateway-api-l4.ts'
import { isService, type BackendRef, type ParentRef, type RouteObject } from './gateway-api-object.ts'
import type { GatewayApiTables } from './gateway-api-rules.ts'
import { noAddress, type RoutedService } from './routed-service.ts'
import { isOlder, type ServiceRules } from './sources.ts'

/** What the status of a route says of its parents that are services: one entry per parentRef. */
export type RouteStatus = readonly ParentStatus[]
type ParentStatus = Readonly<{
  parentRef: Readonly<Record<string, unknown>>
  conditions: readonly Condition[]
}>

type StatusTables = GatewayApiTables &
  Readonly<{
    own: Collection<ServiceRules>
    /** Of the other front ends. */
    others: readonly Collection<ServiceRules>[]
    gateways: Inputs['gateways']
    classes: Inputs['gatewayClasses']
  }>

type AnyRoute = HttpRoute | L4Route

/** By `namespace/name` of the route. */
export const routeStatuses = <R extends AnyRoute>(
  name: string,
  routes: Collection<R>,
  tables: StatusTables,
): Collection<RouteStatus> =>
  derive(
    name,
    routes,
    (route, fetch, key): RouteStatus =>
      route.parents.flatMap((parent): readonly ParentStatus[] => {
        const verdict = judgeParent(route, parent, fetch, tables)
        const services = verdict.kind === 'attached' ? verdict.to.map(({ service }) => service) : []
        if (services.some((service) => isForeign(service, fetch, tables))) return []
        return [
          {
            parentRef: parent.written,
            conditions: [
              acceptance(route, key, verdict, fetch, tables),
              resolution(route, services, fetch, tables),
              ...partialInvalidity(route),
              waypointNote(parent, services),
            ],
          },
        ]
      }),
  )

/** The CRDs allow 32 KiB, and nothing is written where one is longer; a reader wants far less. */
const maxMessage = 1_024
const condition = (type: string, status: 'True' | 'False', reason: string, message: string): Condition => ({
  type,
  status,
  reason,
  message: message.length > maxMessage ? `${message.slice(0, maxMessage - 1)}…` : message,
})
const yes = (type: string, reason: string, message: string): Condition =>
  condition(type, 'True', reason, message)
const no = (type: string, reason: string, message: string): Condition =>
  condition(type, 'False', reason, message)

/** A waypoint of somebody else's class reads its routes itself, and says what it makes of them. */
function isForeign({ waypoints: [waypoint] }: RoutedService, fetch: Fetch, tables: StatusTables): boolean {
  const spec = waypoint === undefined ? undefined : fetch.one(tables.gateways, waypoint)?.spec
  const className: unknown = isRecord(spec) ? spec['gatewayClassName'] : undefined
  if (typeof className !== 'string') return false
  const ofClass = fetch.one(tables.classes, className)?.spec
  const controller: unknown = isRecord(ofClass) ? ofClass['controllerName'] : undefined
  return typeof controller === 'string' && !controller.startsWith('istio.io/')
}

function acceptance(
  route: AnyRoute,
  key: string,
  verdict: ParentVerdict,
  fetch: Fetch,
  tables: StatusTables,
): Condition {
  if (verdict.kind === 'refused') return no('Accepted', verdict.reason, verdict.message)
  const conflict = conflictOf(route, key, verdict, fetch, tables)
  if (conflict !== undefined) return no('Accepted', 'Conflicted', conflict)
  const { bad, good } = problemsOf(route)
  const incompatible = 'rules' in route && route.rules.some(({ filters }) => filters.incompatible === true)
  if (good === 0 && bad.length > 0)
    return no(
      'Accepted',
      incompatible ? 'IncompatibleFilters' : 'UnsupportedValue',
      `every rule is refused: ${bad.join('; ')}`,
    )
  const hosts =
    'namesHosts' in route && route.namesHosts ? '; spec.hostnames: not looked at for a service' : ''
  return yes('Accepted', 'Accepted', `the route counts for this parent${hosts}`)
}

/** Routes of one service are of one API, and those of one port and audience for HTTP of one kind: the older counts. */
function conflictOf(
  { kind, namespace }: RouteObject,
  key: string,
  { to }: Extract<ParentVerdict, { kind: 'attached' }>,
  fetch: Fetch,
  tables: StatusTables,
): string | undefined {
  for (const { service } of to) {
    const own = fetch.one(tables.own, service.name)
    const older = tables.others
      .map((source) => fetch.one(source, service.name))
      .find((other) => other !== undefined && own !== undefined && isOlder(other.oldest, own.oldest))
    if (older)
      return `${older.oldest.origin.kind} ${older.oldest.origin.name} is older, and has ${service.hostname}`
  }
  if (!isHttp(kind)) return undefined
  const refusals = to.flatMap(({ service, ports }) => {
    const all = fetch.by(tables.attached, service.name)
    const consumer = namespace === service.namespace ? undefined : namespace
    return ports.map((port) => {
      const { counted, refused } = httpAttachments(all, port, consumer)
      const isRefused = refused.some((one) => one.kind === kind && one.route === key)
      return isRefused ? `${counted[0]?.kind} ${counted[0]?.route} is older, and has port ${port}` : undefined
    })
  })
  return refusals.includes(undefined) ? undefined : refusals[0]
}

/** How many rules are followed, and what is wrong with the others. */
function problemsOf(route: AnyRoute): Readonly<{ bad: readonly string[]; good: number }> {
  if (!('rules' in route)) return { bad: route.problems, good: route.problems.length === 0 ? 1 : 0 }
  return {
    bad: route.rules.flatMap(({ problems }) => problems),
    good: route.rules.filter(({ problems }) => problems.length === 0).length,
  }
}

function partialInvalidity(route: AnyRoute): readonly Condition[] {
  const { bad, good } = problemsOf(route)
  const remarks = [...route.remarks, ...('rules' in route ? route.rules.flatMap((rule) => rule.remarks) : [])]
  if (bad.length > 0 && good > 0)
    return [
      yes(
        'PartiallyInvalid',
        'UnsupportedValue',
        `Dropped Rule, what it matches is answered with 500: ${[...bad, ...remarks].join('; ')}`,
      ),
    ]
  return remarks.length > 0
    ? [yes('PartiallyInvalid', 'UnsupportedValue', `Fall Back to doing without: ${remarks.join('; ')}`)]
    : []
}

function resolution(
  route: AnyRoute,
  services: readonly RoutedService[],
  fetch: Fetch,
  tables: StatusTables,
): Condition {
  const failed = backendsOf(route)
    .map((ref) => resolveBackend(ref, route, services, fetch, tables))
    .filter((backend) => backend.kind === 'unresolved')
  const [first] = failed
  if (first === undefined) return yes('ResolvedRefs', 'ResolvedRefs', 'all references lead somewhere')
  return no('ResolvedRefs', first.reason, failed.map(({ message }) => message).join('; '))
}

const backendsOf = (route: AnyRoute): readonly BackendRef[] =>
  'rules' in route
    ? route.rules.flatMap(({ backends, filters }) => [...backends, ...filters.mirrors].map(({ ref }) => ref))
    : route.backends

/** Istio's: always True; the message is what counts. */
function waypointNote(parent: ParentRef, services: readonly RoutedService[]): Condition {
  const kind = isService(parent.group, parent.kind) ? 'Service' : 'ServiceEntry'
  const name = `${kind} ${parent.namespace}/${parent.name}`
  const bound = [...new Set(services.flatMap(({ waypoints }) => waypoints))]
  return yes(
    'ResolvedWaypoints',
    'ResolvedWaypoints',
    services.length === 0
      ? `${name} was not found, or none of its ports is meant`
      : bound.length === 0
        ? `${name} has no waypoint (label istio.io/use-waypoint) that is ready, so nobody acts on this route`
        : !services.some(({ isAddressed }) => isAddressed)
          ? `${name} ${noAddress}, so nobody acts on this route`
          : `followed by waypoint ${bound.join(' and ')}`,
  )
}
