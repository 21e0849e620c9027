import { type Collection, deriveMany, type Fetch, type Index } from '#kube'
import { type BackendTables, objectKey } from './gateway-api-backends.ts'
import { isService, type ParentRef, type RouteKind, type RouteObject } from './gateway-api-object.ts'
import type { RoutedPort, RoutedService } from './routed-service.ts'

/** A route on some of a service's ports. */
export type Attachment = Readonly<{
  service: string
  ports: readonly number[]
  kind: RouteKind
  /** `namespace/name` of the route. */
  route: string
  created: string
  /** A namespace other than the service's: the route is for clients there and for nobody else. */
  consumer: string | undefined
}>

/** What one parentRef of a route comes to. */
export type ParentVerdict =
  | Readonly<{
      kind: 'attached'
      to: readonly Readonly<{ service: RoutedService; ports: readonly number[] }>[]
    }>
  | Readonly<{ kind: 'refused'; reason: 'NoMatchingParent' | 'NotAllowedByListeners'; message: string }>

/** A service has to be there, with a port that fits the reference and carries what the route is about. */
export function judgeParent(
  route: RouteObject,
  parent: ParentRef,
  fetch: Fetch,
  { byObject }: Pick<BackendTables, 'byObject'>,
): ParentVerdict {
  const { namespace, name, sectionName, port } = parent
  const kind = isService(parent.group, parent.kind) ? 'Service' : 'ServiceEntry'
  const refused = (reason: 'NoMatchingParent' | 'NotAllowedByListeners', message: string): ParentVerdict => ({
    kind: 'refused',
    reason,
    message,
  })
  const services = fetch.by(byObject, `${kind}/${namespace}/${name}`)
  if (services.length === 0) return refused('NoMatchingParent', `there is no ${kind} ${namespace}/${name}`)
  const fits = (one: RoutedPort) =>
    (port === undefined || one.port === port) && (sectionName === undefined || one.name === sectionName)
  const named = services.flatMap((service) => service.ports.filter(fits))
  const wanted = [
    ...(port === undefined ? [] : [`port ${port}`]),
    ...(sectionName === undefined ? [] : [`a port named ${sectionName}`]),
  ].join(' that is ')
  if (named.length === 0)
    return refused(
      'NoMatchingParent',
      `${kind} ${namespace}/${name} has no ${wanted === '' ? 'port' : wanted}`,
    )
  if (!named.some((one) => carries(one, route.kind))) {
    const spoken = named.map((one) => `${one.port} (${one.protocol})`).join(', ')
    return refused('NotAllowedByListeners', `a ${route.kind} says nothing of what is declared for ${spoken}`)
  }
  const of = (service: RoutedService) => service.ports.filter((one) => fits(one) && carries(one, route.kind))
  return {
    kind: 'attached',
    to: services
      .map((service) => ({ service, ports: of(service).map((one) => one.port) }))
      .filter(({ ports }) => ports.length > 0),
  }
}

/** A port whose protocol is to be found out carries everything. */
function carries({ protocol }: RoutedPort, kind: RouteKind): boolean {
  switch (protocol) {
    case 'auto':
      return true
    case 'http':
      return kind === 'HTTPRoute' || kind === 'GRPCRoute'
    case 'tls':
      return kind === 'TLSRoute' || kind === 'TCPRoute'
    case 'tcp':
      return kind === 'TCPRoute'
  }
}

/** All attachments of the routes of one kind. */
export const attachments = <R extends RouteObject>(
  kind: RouteKind,
  routes: Collection<R>,
  tables: Pick<BackendTables, 'byObject'>,
): Collection<Attachment> =>
  deriveMany(
    `${kind}Attachments`,
    routes,
    (route, fetch, key): readonly Attachment[] =>
      mergedByService(
        route.parents.flatMap((parent) => {
          const verdict = judgeParent(route, parent, fetch, tables)
          return verdict.kind === 'attached' ? verdict.to : []
        }),
      ).map(({ service, ports }) => ({
        service: service.name,
        ports,
        kind,
        route: key,
        created: route.created,
        consumer: route.namespace === service.namespace ? undefined : route.namespace,
      })),
    { keyOf: ({ kind: ofKind, route, service }) => `${ofKind}/${route}|${service}` },
  )

type OnService = Readonly<{ service: RoutedService; ports: readonly number[] }>

/** Several parentRefs may name ports of one service. */
function mergedByService(all: readonly OnService[]): readonly OnService[] {
  const merged = new Map<string, OnService>()
  for (const one of all) {
    const ports = [...(merged.get(one.service.name)?.ports ?? []), ...one.ports]
    merged.set(one.service.name, { service: one.service, ports: [...new Set(ports)].sort((a, b) => a - b) })
  }
  return [...merged.values()]
}

export type AttachmentsOfService = Index<Attachment>

/** Older first; of those made in the same second by kind and name, so that everybody agrees. */
export const byAge = (a: Attachment, b: Attachment): number =>
  compared(a.created, b.created) || compared(a.route, b.route) || compared(a.kind, b.kind)
export const compared = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1)

/**
 * The routes for HTTP of one port and one audience, oldest first. HTTPRoutes and GRPCRoutes do not mix: the kind of the
 * oldest counts, and those of the other are refused.
 */
export function httpAttachments(
  all: readonly Attachment[],
  port: number,
  consumer: string | undefined,
): Readonly<{ counted: readonly Attachment[]; refused: readonly Attachment[] }> {
  const here = all
    .filter((one) => one.ports.includes(port) && one.consumer === consumer && isHttp(one.kind))
    .sort(byAge)
  const kind = here[0]?.kind
  return {
    counted: here.filter((one) => one.kind === kind),
    refused: here.filter((one) => one.kind !== kind),
  }
}
export const isHttp = (kind: RouteKind): boolean => kind === 'HTTPRoute' || kind === 'GRPCRoute'

export const byObject = (services: Collection<RoutedService>): Index<RoutedService> =>
  services.indexBy((service) => [objectKey(service)])
