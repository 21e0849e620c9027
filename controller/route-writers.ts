import { type Collection, type Custom, type Kind, kinds, type KubeClient, type KubeObject } from '#kube'
import type { Logger } from '#telemetry'
import type { FollowedRoutes } from './follow-routes.ts'
import type { Writer } from './reconcile/index.ts'
import { type RouteKind, routeStatusWriter } from './routes/index.ts'

type Options = Readonly<{ client: KubeClient; routes: FollowedRoutes; log: Logger }>

/** What the leader writes into the status of routes, about their parents that are services. */
export function routeWriters(
  { client, routes: { objects, statuses }, log }: Options,
  scope: (object: KubeObject) => boolean,
): readonly Writer[] {
  const of = (kind: Kind<Custom>, name: RouteKind, held: Collection<Custom>): Writer =>
    routeStatusWriter({ client, kind, objects: held, statuses: statuses[name], scope, log })
  return [
    of(kinds.HTTPRoute, 'HTTPRoute', objects.httpRoutes),
    of(kinds.GRPCRoute, 'GRPCRoute', objects.grpcRoutes),
    of(kinds.TLSRoute, 'TLSRoute', objects.tlsRoutes),
    of(kinds.TCPRoute, 'TCPRoute', objects.tcpRoutes),
  ]
}
