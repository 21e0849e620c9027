import {
  type Collection,
  type Custom,
  keyOf,
  type Kind,
  kinds,
  type KubeClient,
  type KubeObject,
} from '#kube'
import type { Logger } from '#telemetry'
import type { FollowedRoutes } from './follow-routes.ts'
import type { RejectedRoutes } from './rejected-routes.ts'
import { conditionWriter, type Writer } from './reconcile/index.ts'
import { istioConditionTypes, type RouteKind, routeStatusWriter } from './routes/index.ts'

type Options = Readonly<{
  client: KubeClient
  routes: FollowedRoutes
  rejectedRoutes: RejectedRoutes
  log: Logger
}>

/** What the leader writes into the status of routes: about parents that are services, and on VirtualServices and DestinationRules. */
export function routeWriters(
  { client, routes: { objects, statuses, conditions }, rejectedRoutes: rejected, log }: Options,
  scope: (object: KubeObject) => boolean,
): readonly Writer[] {
  const of = (kind: Kind<Custom>, name: RouteKind, held: Collection<Custom>): Writer =>
    routeStatusWriter({
      client,
      kind,
      objects: held,
      statuses: rejected.statuses(name, statuses[name]),
      scope,
      log,
    })
  const told = (name: 'VirtualService' | 'DestinationRule', held: Collection<Custom>): Writer => {
    const all = rejected.conditions(name, conditions[name])
    return conditionWriter({
      client,
      kind: kinds[name],
      objects: held,
      also: all,
      wanted: (_, key) => ({ types: istioConditionTypes, conditions: all.get(key) ?? [] }),
      // Those that we do not look at are somebody else's.
      scope: (object) => scope(object) && conditions[name].get(keyOf(object)) !== undefined,
      fieldManager: 'istio-route-conditions',
      log,
    })
  }
  return [
    of(kinds.HTTPRoute, 'HTTPRoute', objects.httpRoutes),
    of(kinds.GRPCRoute, 'GRPCRoute', objects.grpcRoutes),
    of(kinds.TLSRoute, 'TLSRoute', objects.tlsRoutes),
    of(kinds.TCPRoute, 'TCPRoute', objects.tcpRoutes),
    told('VirtualService', objects.virtualServices),
    told('DestinationRule', objects.destinationRules),
  ]
}
