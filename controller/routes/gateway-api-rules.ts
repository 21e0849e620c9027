import { type Collection, derive, type Fetch } from '#kube'
import type {
  Destination,
  HttpAction,
  HttpMatch,
  HttpRule,
  InvalidDestination,
  L4Rule,
  Mirror,
  Redirect,
  SourceMatch,
  WeightedTarget,
} from '#routes'
import { noHeaders, usualHttp, usualL4 } from './defaults.ts'
import {
  type Attachment,
  type AttachmentsOfService,
  byAge,
  compared,
  httpAttachments,
  isHttp,
} from './gateway-api-attach.ts'
import { type BackendTables, resolveBackend } from './gateway-api-backends.ts'
import type { ReadRedirect } from './gateway-api-filters.ts'
import type { HttpRoute, ReadRule } from './gateway-api-http.ts'
import type { L4Route } from './gateway-api-l4.ts'
import type { RankedMatch } from './gateway-api-matches.ts'
import type { BackendRef, RouteKind } from './gateway-api-object.ts'
import type { RoutedService } from './routed-service.ts'
import type { PortRules, ServiceRules } from './sources.ts'

export type GatewayApiTables = BackendTables &
  Readonly<{
    http: Readonly<Record<'HTTPRoute' | 'GRPCRoute', Collection<HttpRoute>>>
    l4: Readonly<Record<'TLSRoute' | 'TCPRoute', Collection<L4Route>>>
    attached: AttachmentsOfService
  }>

/** What routes of the Gateway API make of each service that they are attached to. */
export const gatewayApiRules = (
  services: Collection<RoutedService>,
  tables: GatewayApiTables,
): Collection<ServiceRules> =>
  derive('GatewayApiRules', services, (service, fetch): ServiceRules | undefined => {
    const all = [...fetch.by(tables.attached, service.name)].sort(byAge)
    const [oldest] = all
    if (oldest === undefined) return undefined
    return {
      service: service.name,
      ports: service.ports.map(({ port }) => portRules(service, port, all, fetch, tables)),
      oldest: { origin: { kind: oldest.kind, name: oldest.route }, created: oldest.created },
    }
  })

type Audience = Readonly<{ consumer: string | undefined; source: SourceMatch | undefined }>

function portRules(
  service: RoutedService,
  port: number,
  all: readonly Attachment[],
  fetch: Fetch,
  tables: GatewayApiTables,
): PortRules {
  const here = all.filter(({ ports }) => ports.includes(port))
  const audiencesOf = (those: readonly Attachment[]): readonly Audience[] => {
    const consumers = [
      ...new Set(those.flatMap(({ consumer }) => (consumer === undefined ? [] : [consumer]))),
    ]
    return consumers.sort().map((consumer) => ({ consumer, source: { namespace: consumer } }))
  }
  const [http, l4] = [here.filter(({ kind }) => isHttp(kind)), here.filter(({ kind }) => !isHttp(kind))]
  const everybody: Audience = { consumer: undefined, source: undefined }
  const context = { service, port, fetch, tables }
  return {
    port,
    ...(http.length === 0
      ? {}
      : {
          http: [
            // Routes of a client's own namespace count for it in place of those of the service's.
            ...audiencesOf(http).flatMap((audience) => [
              ...httpRules(httpAttachments(http, port, audience.consumer).counted, audience, context),
              nothingElse(usualHttp(service, port), audience),
            ]),
            ...(http.some(({ consumer }) => consumer === undefined)
              ? httpRules(httpAttachments(http, port, undefined).counted, everybody, context)
              : [usualHttp(service, port)]),
          ],
        }),
    ...(l4.length === 0
      ? {}
      : {
          l4: [
            ...audiencesOf(l4).flatMap((audience) => [
              ...l4Rules(l4, audience, context),
              { ...usualL4(service, port), match: sourced({}, audience), destinations: [] },
            ]),
            ...(l4.some(({ consumer }) => consumer === undefined)
              ? l4Rules(l4, everybody, context)
              : [usualL4(service, port)]),
          ],
        }),
  }
}

const nothingElse = (usual: HttpRule, audience: Audience): HttpRule => ({
  ...usual,
  name: 'none',
  match: sourced({}, audience),
  action: { kind: 'not-found' },
})

const sourced = <M extends Readonly<{ source?: SourceMatch }>>(match: M, { source }: Audience): M =>
  source === undefined ? match : { ...match, source }

type Context = Readonly<{ service: RoutedService; port: number; fetch: Fetch; tables: GatewayApiTables }>
type Entry = Readonly<{
  attachment: Attachment
  route: HttpRoute
  rule: ReadRule
  ranked: RankedMatch
  nth: number
}>

/** Match by match across all rules and routes, the most specific first. */
function httpRules(
  attached: readonly Attachment[],
  audience: Audience,
  context: Context,
): readonly HttpRule[] {
  const { fetch, tables } = context
  const entries = attached.flatMap((attachment): readonly Entry[] => {
    const { kind } = attachment
    const route =
      kind === 'HTTPRoute' || kind === 'GRPCRoute'
        ? fetch.one(tables.http[kind], attachment.route)
        : undefined
    if (route === undefined) return []
    return route.rules.flatMap((rule) =>
      rule.matches.map((ranked, nth) => ({ attachment, route, rule, ranked, nth })),
    )
  })
  return entries.sort(byPrecedence).map((entry) => httpRule(entry, audience, context))
}

function byPrecedence(a: Entry, b: Entry): number {
  for (const [i, rank] of a.ranked.rank.entries()) {
    const other = b.ranked.rank[i] ?? 0
    if (rank !== other) return other - rank
  }
  return (
    compared(a.attachment.created, b.attachment.created) ||
    compared(a.attachment.route, b.attachment.route) ||
    a.rule.index - b.rule.index ||
    a.nth - b.nth
  )
}

function httpRule({ route, rule, ranked, nth }: Entry, audience: Audience, context: Context): HttpRule {
  const { filters, problems } = rule
  const told = {
    name: rule.name ?? `${route.namespace}.${route.name}.${rule.index}`,
    origin: { kind: route.kind, name: `${route.namespace}/${route.name}`, rule: rule.index, match: nth },
    match: sourced<HttpMatch>(ranked.match, audience),
  }
  if (problems.length > 0) {
    const action = { kind: 'respond', status: 500, problem: problems.join('; ') } as const
    return { ...told, action, requestHeaders: noHeaders, responseHeaders: noHeaders }
  }
  return {
    ...told,
    action: actionOf(route, rule, context),
    requestHeaders: filters.requestHeaders,
    responseHeaders: filters.responseHeaders,
    ...(filters.cors === undefined ? {} : { cors: filters.cors }),
  }
}

function actionOf(route: HttpRoute, rule: ReadRule, { service, port, fetch, tables }: Context): HttpAction {
  const { filters } = rule
  if (filters.redirect) return redirectAt(filters.redirect, port)
  const leadsTo = (ref: BackendRef) =>
    answering(resolveBackend(ref, route, [service], fetch, tables).to, route.kind)
  return {
    kind: 'forward',
    destinations: rule.backends.map(({ ref, filters: own }) => ({
      weight: ref.weight,
      to: leadsTo(ref),
      requestHeaders: own.requestHeaders,
      responseHeaders: own.responseHeaders,
      ...(own.rewrite === undefined ? {} : { rewrite: own.rewrite }),
      ...(own.redirect === undefined ? {} : { redirect: redirectAt(own.redirect, port) }),
    })),
    ...(filters.rewrite === undefined ? {} : { rewrite: filters.rewrite }),
    mirrors: filters.mirrors.map(({ ref, ppm }): Mirror => ({ to: leadsTo(ref), ppm })),
    timeoutMs: rule.timeoutMs,
    retry: rule.retry,
  }
}

/** gRPC clients are to be told UNAVAILABLE, which 503 becomes. */
const answering = (
  to: Destination | InvalidDestination,
  kind: RouteKind,
): Destination | InvalidDestination =>
  to.kind === 'invalid' && kind === 'GRPCRoute' ? { ...to, status: 503 } : to

/** In the mesh, the listener of a route is the port of the service. */
const redirectAt = (redirect: ReadRedirect, listener: number): Redirect => ({
  ...redirect,
  port: redirect.port === 'listener' ? listener : redirect.port,
})

/** SNI first: a whole name before a wildcard, a longer one before a shorter. Of TCPRoutes the oldest has everything else. */
function l4Rules(all: readonly Attachment[], audience: Audience, context: Context): readonly L4Rule[] {
  const { fetch, tables } = context
  const mine = all.filter(({ consumer }) => consumer === audience.consumer)
  const routesOf = (kind: 'TLSRoute' | 'TCPRoute') =>
    mine.flatMap((one) => (one.kind === kind ? (fetch.one(tables.l4[kind], one.route) ?? []) : []))
  const tls = routesOf('TLSRoute').flatMap((route) =>
    (route.hostnames ?? []).map((hostname) => ({ route, hostname })),
  )
  const isExact = (hostname: string) => (hostname.startsWith('*') ? 0 : 1)
  const sorted = tls.toSorted(
    (a, b) => isExact(b.hostname) - isExact(a.hostname) || b.hostname.length - a.hostname.length,
  )
  const [tcp] = routesOf('TCPRoute')
  return [
    ...sorted.map(({ route, hostname }) => l4Rule(route, { sni: [hostname] }, audience, context)),
    ...(tcp === undefined ? [] : [l4Rule(tcp, {}, audience, context)]),
  ]
}

function l4Rule(
  route: L4Route,
  match: L4Rule['match'],
  audience: Audience,
  { service, fetch, tables }: Context,
): L4Rule {
  const name = `${route.namespace}/${route.name}`
  return {
    name: route.ruleName ?? `${route.namespace}.${route.name}.0`,
    origin: { kind: route.kind, name, rule: 0 },
    match: sourced(match, audience),
    destinations:
      route.problems.length > 0
        ? []
        : route.backends.map(
            (ref): WeightedTarget => ({
              weight: ref.weight,
              to: resolveBackend(ref, route, [service], fetch, tables).to,
            }),
          ),
  }
}
