import { type Change, type Collection, type Condition, derive } from '#kube'
import type { ServiceRoutes } from '#routes'
import type { RouteStatus } from './routes/index.ts'
import type { Rejection } from './xds/index.ts'

/** As much of a collection as its writer needs. */
type Told<T> = Pick<Collection<T>, 'get' | 'subscribe'>

/** Which routes a waypoint does not take, by the objects that they come from. */
export type RejectedRoutes = Readonly<{
  /** What is told of an object of a kind, with what waypoints say of it. */
  statuses: (kind: string, compiled: Collection<RouteStatus>) => Told<RouteStatus>
  conditions: (kind: string, compiled: Collection<readonly Condition[]>) => Told<readonly Condition[]>
}>

/** Known to the replica that the waypoint is connected to; it is told when that is the one that writes. */
export function rejectedRoutes(
  routes: Collection<ServiceRoutes>,
  rejected: Collection<Rejection>,
): RejectedRoutes {
  const rows = derive('RejectedRoutes', rejected, (rejection, fetch, service) => ({
    service,
    sentence: sentence(rejection, service),
    origins: originsOf(fetch.one(routes, service)),
  }))
  const byOrigin = rows.indexBy(({ origins }) => origins)
  const laidOver = <T>(
    kind: string,
    compiled: Collection<T>,
    refused: (of: T, why: string) => T,
  ): Told<T> => ({
    get: (key) => {
      const [of, found] = [compiled.get(key), byOrigin.lookup(`${kind} ${key}`)]
      return of === undefined || found.length === 0
        ? of
        : refused(of, found.map((one) => one.sentence).join('; '))
    },
    subscribe: (listener) => {
      const stack = new DisposableStack()
      stack.use(compiled.subscribe(listener))
      stack.use(
        rows.subscribe((changes) => {
          const keys = changes.flatMap(({ old, row }) => [...(old?.origins ?? []), ...(row?.origins ?? [])])
          const own = keys
            .filter((key) => key.startsWith(`${kind} `))
            .map((key) => key.slice(kind.length + 1))
          listener(
            [...new Set(own)].map(
              (key): Change<T> => ({ key, old: compiled.get(key), row: compiled.get(key) }),
            ),
          )
        }),
      )
      return stack
    },
  })
  return {
    statuses: (kind, compiled) =>
      laidOver(kind, compiled, (status, why) =>
        status.map((parent) => ({ ...parent, conditions: refusedIn(parent.conditions, 'Accepted', why) })),
      ),
    conditions: (kind, compiled) =>
      laidOver(kind, compiled, (conditions, why) => refusedIn(conditions, 'lateen.dev/Accepted', why)),
  }
}

const refusedIn = (conditions: readonly Condition[], type: string, message: string): readonly Condition[] =>
  conditions.map((one) => (one.type === type ? { type, status: 'False', reason: 'Rejected', message } : one))

/** The objects that a service's routes come from, as `Kind namespace/name`. */
function originsOf(routes: ServiceRoutes | undefined): readonly string[] {
  const origins = [
    ...(routes?.ports ?? []).flatMap(({ http, l4 }) => [...http, ...l4].map(({ origin }) => origin)),
    ...(routes?.policies ?? []).flatMap(({ origin }) => origin ?? []),
  ]
  return [...new Set(origins.map(({ kind, name }) => `${kind} ${name}`))]
}

const sentence = ({ clients, message }: Rejection, service: string): string =>
  `${clients === 1 ? 'a waypoint rejects' : `${clients} waypoints reject`} what it comes to for ${service}: ${message}`
