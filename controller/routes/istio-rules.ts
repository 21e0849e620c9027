import { type Collection, derive, type Fetch } from '#kube'
import type { Forward, HttpAction, HttpMatch, HttpRule, L4Rule, Mirror, Rewrite } from '#routes'
import { noHeaders, usualL4, usualRetry } from './defaults.ts'
import { effectiveRules, type OwnedRule } from './istio-delegates.ts'
import type { ReadShare } from './istio-destinations.ts'
import { given } from './istio-fields.ts'
import type { RuleParts } from './istio-http.ts'
import type { ReadMatch } from './istio-matches.ts'
import { type IstioTables, resolveDestination, virtualServicesOf } from './istio-tables.ts'
import type { L4ReadMatch, ReadL4Rule, VirtualService } from './istio-virtual-service.ts'
import type { RoutedService } from './routed-service.ts'
import type { PortRules, ServiceRules } from './sources.ts'

/** What VirtualServices make of each service whose waypoint looks at any. */
export const istioRules = (tables: IstioTables): Collection<ServiceRules> =>
  derive('VirtualServiceRules', tables.services, (service, fetch): ServiceRules | undefined => {
    const all = virtualServicesOf(service, fetch, tables)
    const [oldest] = all
    if (oldest === undefined) return undefined
    const http = all.flatMap((one) => effectiveRules(one, fetch, tables))
    const ports = service.ports.map(({ port }) => portRules({ service, port, fetch, tables }, http, all))
    // One that says nothing of the service keeps nobody else from it.
    if (ports.every((one) => one.http === undefined && one.l4 === undefined)) return undefined
    return {
      service: service.name,
      ports,
      oldest: { origin: { kind: 'VirtualService', name: oldest.key }, created: oldest.created },
    }
  })

type Context = Readonly<{ service: RoutedService; port: number; fetch: Fetch; tables: IstioTables }>

/** A port that no rule is about is as it was. */
function portRules(context: Context, rules: readonly OwnedRule[], all: readonly VirtualService[]): PortRules {
  const { port, service } = context
  const isHere = (match: ReadMatch | L4ReadMatch) =>
    match.forMesh && (match.port === undefined || match.port === port)
  const http = rules.flatMap((one) =>
    one.rule.matches.filter(isHere).map((match) => httpRule(one, match, context)),
  )
  const listed = (list: 'tls' | 'tcp') =>
    all.flatMap((one) =>
      one.l4
        .filter((rule) => rule.list === list)
        .flatMap((rule) =>
          rule.matches.filter(isHere).map((match, nth) => l4Rule(one, rule, match, nth, context)),
        ),
    )
  const l4 = [...listed('tls'), ...listed('tcp')]
  const isWhole = l4.some(({ match }) => match.sni === undefined && match.source === undefined)
  return {
    port,
    ...(http.length === 0 ? {} : { http }),
    // Connections that no rule is about go where they would have gone.
    ...(l4.length === 0 ? {} : { l4: isWhole ? l4 : [...l4, usualL4(service, port)] }),
  }
}

function httpRule(
  { owner, namespace, ownerName, rule }: OwnedRule,
  read: ReadMatch,
  context: Context,
): HttpRule {
  const { parts, problems } = rule
  const own = rule.name ?? `${namespace}.${ownerName}.${rule.index}`
  const told = {
    name: read.name === undefined ? own : `${own}.${read.name}`,
    origin: { kind: 'VirtualService', name: owner, rule: rule.index, match: read.index },
    match: rewritable(read.match, parts.rewrite),
  } as const
  if (problems.length > 0) {
    const action = { kind: 'respond', status: 500, problem: problems.join('; ') } as const
    return { ...told, action, requestHeaders: noHeaders, responseHeaders: noHeaders }
  }
  const action = actionOf(parts, context)
  return {
    ...told,
    action,
    requestHeaders: (action.kind === 'forward' ? parts.headers?.request : undefined) ?? noHeaders,
    responseHeaders: parts.headers?.response ?? noHeaders,
    ...given({ fault: parts.fault, cors: parts.cors }),
  }
}

/** What has no path of its own matches the prefix `/`, which is then what a rewrite replaces. */
const rewritable = (match: HttpMatch, rewrite: Rewrite | undefined): HttpMatch =>
  rewrite?.path?.kind === 'prefix' && match.path === undefined
    ? { ...match, path: { kind: 'prefix', value: '/' } }
    : match

function actionOf(parts: RuleParts, context: Context): HttpAction {
  if (parts.redirect) return parts.redirect
  if (parts.respond) return parts.respond
  const { service, port, fetch, tables } = context
  const authority = parts.rewrite?.authority ?? parts.headers?.authority
  const rewrite: Rewrite = { ...parts.rewrite, ...given({ authority }) }
  const mirrors = (parts.mirrors ?? []).map(
    ({ to, ppm }): Mirror => ({ to: resolveDestination(to, port, service, fetch, tables), ppm }),
  )
  return {
    kind: 'forward',
    destinations: (parts.route ?? []).map((share) => destinationOf(share, context)),
    ...(Object.keys(rewrite).length === 0 ? {} : { rewrite }),
    mirrors,
    timeoutMs: parts.timeoutMs ?? 0,
    retry: parts.retry ?? usualRetry,
  }
}

const destinationOf = (
  { weight, to, headers }: ReadShare,
  { service, port, fetch, tables }: Context,
): Forward['destinations'][number] => ({
  weight,
  to: resolveDestination(to, port, service, fetch, tables),
  requestHeaders: headers?.request ?? noHeaders,
  responseHeaders: headers?.response ?? noHeaders,
  ...(headers?.authority === undefined ? {} : { rewrite: { authority: headers.authority } }),
})

function l4Rule(
  { key, namespace, name }: VirtualService,
  rule: ReadL4Rule,
  { sni, source }: L4ReadMatch,
  match: number,
  { service, port, fetch, tables }: Context,
): L4Rule {
  return {
    name: `${namespace}.${name}.${rule.list}.${rule.index}`,
    origin: { kind: 'VirtualService', name: key, rule: rule.index, match },
    match: given({ sni, source }),
    // What cannot be followed is closed for whatever it may have been about.
    destinations:
      rule.problems.length > 0
        ? []
        : rule.route.map(({ weight, to }) => ({
            weight,
            to: resolveDestination(to, port, service, fetch, tables),
          })),
  }
}
