import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '#base'
import { type Custom, fixed, keyOf, type KubeObject, type Namespace, type Service } from '#kube'
import { meshFrom } from '../../../controller/collections/index.ts'
import { liveSettingsFrom } from '../../../controller/mesh-config.ts'
import { usualPolicy } from '../../../controller/routes/defaults.ts'
import {
  meshDefaultsKey,
  readMeshDefaults,
  type RouteKind,
  routesFrom,
} from '../../../controller/routes/index.ts'
import {
  chooseL4,
  chooseRoute,
  type Forward,
  type HeaderOps,
  type HttpRule,
  type L4Rule,
  parseServiceRoutes,
  type PathRewrite,
  type Redirect,
  type RouteChoice,
  redirectLocation,
  type RouteRequest,
  routeTable,
  type ServiceRoutes,
  splitAuthority,
  type TextMatch,
  changedTarget,
} from '../../../lib/routes/index.ts'
import { inputsOf, settings } from '../collections/world.ts'

export type Fields = Record<string, unknown>
export type Case = Readonly<{
  title: string
  /** MeshConfig. */
  mesh?: Fields
  given: readonly (Fields & { kind: string })[]
  /** By `service:port`, the rules for HTTP as sentences; only of ports that are not as without routes. */
  http?: Readonly<Record<string, readonly string[]>>
  l4?: Readonly<Record<string, readonly string[]>>
  /** By `kind namespace/name`, one line per parent. */
  status?: Readonly<Record<string, readonly string[]>>
  /** By route and type, a pattern of the message of a condition. */
  says?: Readonly<Record<string, string>>
  /** `[caller's namespace>] METHOD authority/path [header=value …]` → what is done. Sent to port 80 of order, or to `to`. */
  requests?: Readonly<Record<string, string>>
  to?: string
  /** What logs call the rules, by `service:port`. */
  names?: Readonly<Record<string, readonly string[]>>
  /** By service: port, protocol, and how it is called. */
  protocols?: Readonly<Record<string, readonly string[]>>
  /** By service, the destinations that it has policies of, and how they are called. */
  calls?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** The whole ServiceRoutes. */
  whole?: Readonly<Record<string, unknown>>
}>
export type Usual = Readonly<{
  always: readonly (Fields & { kind: string })[]
  given: Record<string, Fields>
}>

/** `over` laid over `base`: maps are merged, null takes away, everything else replaces. */
export function overlay(base: unknown, over: unknown): Fields {
  const merged: Fields = isRecord(base) ? { ...base } : {}
  for (const [key, value] of Object.entries(isRecord(over) ? over : {})) {
    if (value === null) delete merged[key]
    else merged[key] = isRecord(value) ? overlay(merged[key], value) : value
  }
  return merged
}

/** The routes of a case's inputs. What a case gives replaces what is always there under the same name. */
export function compiled({ given, mesh = {} }: Case, usual: Usual) {
  const own = given.map((object) => overlay(usual.given[object.kind], object))
  const all = [...usual.always.map((object) => overlay(usual.given[object.kind], object)), ...own]
  const of = <T extends KubeObject>(kind: string) => all.filter((o) => o['kind'] === kind) as unknown as T[]
  const rows = (kind: string) =>
    fixed(kind, Object.fromEntries(of<Custom>(kind).map((row) => [keyOf(row), row])))
  const inputs = inputsOf({
    services: of<Service>('Service'),
    namespaces: of<Namespace>('Namespace'),
    serviceEntries: of<Custom>('ServiceEntry'),
    gateways: of<Custom>('Gateway'),
    gatewayClasses: of<Custom>('GatewayClass'),
    live: liveSettingsFrom(mesh),
  })
  const objects = {
    httpRoutes: rows('HTTPRoute'),
    grpcRoutes: rows('GRPCRoute'),
    tlsRoutes: rows('TLSRoute'),
    tcpRoutes: rows('TCPRoute'),
    referenceGrants: rows('ReferenceGrant'),
    virtualServices: rows('VirtualService'),
    destinationRules: rows('DestinationRule'),
    meshDefaults: fixed('MeshDefaults', { [meshDefaultsKey]: readMeshDefaults(mesh).defaults }),
  }
  return routesFrom(objects, inputs, meshFrom(inputs, settings), settings)
}
export type Compiled = ReturnType<typeof compiled>

// Sentences

const suffix = '.svc.cluster.local'
/** `shop/order.shop.svc.cluster.local` is `shop/order`. */
const short = (service: string): string => {
  const [namespace = '', host = ''] = service.split('/')
  return host.endsWith(`.${namespace}${suffix}`)
    ? `${namespace}/${host.slice(0, -namespace.length - suffix.length - 1)}`
    : service
}
const text = ({ kind, value }: TextMatch): string =>
  ({ exact: `=${value}`, prefix: `=${value}*`, suffix: `=*${value}`, regex: `~${value}` })[kind]
const ops = (name: string, { set, add, remove }: HeaderOps): string[] => [
  ...set.map((one) => `${name} ${one.name}:${one.value}`),
  ...add.map((one) => `${name} +${one.name}:${one.value}`),
  ...remove.map((one) => `${name} -${one}`),
]

function matchText({ match }: HttpRule | L4Rule): string {
  const parts: string[] = []
  if (match.source?.namespace) parts.push(`from ${match.source.namespace}`)
  if (match.source?.labels)
    parts.push(
      `from ${Object.entries(match.source.labels)
        .map((pair) => pair.join('='))
        .join(',')}`,
    )
  if ('sni' in match) parts.push(`sni ${match.sni?.join('|')}`)
  const { path, method, headers, query, claims, scheme, authority, ignorePathCase } =
    match as HttpRule['match']
  if (scheme) parts.push(`scheme ${text(scheme)}`)
  if (authority) parts.push(`authority ${text(authority)}`)
  if (method) parts.push(method.kind === 'exact' ? method.value : `method ${text(method)}`)
  if (path)
    parts.push(
      path.kind === 'segments' ? `${path.value === '/' ? '' : path.value}/*` : text(path as TextMatch),
    )
  if (ignorePathCase) parts.push('any case')
  for (const { name, value, negated, missingIsEmpty } of headers ?? [])
    parts.push(
      `${negated ? (missingIsEmpty ? '!?' : '!') : ''}${name}${value.kind === 'present' ? '' : text(value)}`,
    )
  for (const { path: claim, value, negated } of claims ?? [])
    parts.push(`${negated ? '!' : ''}claim ${claim.join('.')}${value.kind === 'present' ? '' : text(value)}`)
  for (const { name, value } of query ?? [])
    parts.push(`?${name}${value.kind === 'present' ? '' : text(value)}`)
  return parts.join(' ') || 'all'
}

const pathText = (path: PathRewrite | undefined): string =>
  path === undefined
    ? ''
    : path.kind === 'full'
      ? path.value
      : path.kind === 'prefix'
        ? `${path.value}…`
        : `~${path.pattern}`
const redirectText = ({ status, scheme, host, port, path }: Redirect): string =>
  `${status} ${scheme ?? ''}://${host ?? ''}:${port}${pathText(path)}`

type To = Forward['destinations'][number]['to']
const toText = (to: To): string =>
  to.kind === 'invalid'
    ? `${to.status}${to.flag ? ` ${to.flag}` : ''}`
    : `${short(to.service)}:${to.port}${to.subset === undefined ? '' : `#${to.subset}`}`

function destinationsText(destinations: Forward['destinations']): string {
  if (destinations.length === 0) return 'nowhere'
  return destinations
    .map((one) => {
      const own = [
        ...ops('request', one.requestHeaders),
        ...ops('response', one.responseHeaders),
        ...(one.rewrite ? [`rewrite ${one.rewrite.authority ?? ''}${pathText(one.rewrite.path)}`] : []),
        ...(one.redirect ? [redirectText(one.redirect)] : []),
      ].join(', ')
      const weight = destinations.length === 1 && one.weight === 1 ? '' : `${one.weight} `
      return `${weight}${toText(one.to)}${own === '' ? '' : ` (${own})`}`
    })
    .join(' + ')
}

const usualRetry = { attempts: 2, on: 'connect-failure refused-stream unavailable cancelled', base: 25 }
const beyondUsual = (on: readonly string[]) =>
  on.join(' ').startsWith(usualRetry.on) ? on.slice(4) : ['only', ...on]
function forwardText({ destinations, rewrite, mirrors, timeoutMs, retry }: Forward): string {
  const extras = [
    ...(rewrite ? [`rewrite ${rewrite.authority ?? ''}${pathText(rewrite.path)}`] : []),
    ...mirrors.map(({ to, ppm }) => `mirror ${ppm / 10_000}% ${toText(to)}`),
    ...(timeoutMs > 0 ? [`timeout ${timeoutMs}`] : []),
    ...(retry.perTryTimeoutMs > 0 ? [`try ${retry.perTryTimeoutMs}`] : []),
    ...(retry.attempts === usualRetry.attempts && retry.on.join(' ') === usualRetry.on
      ? []
      : [
          `retry ${retry.attempts} on ${[...beyondUsual(retry.on), ...retry.statuses].join(' ')} after ${retry.backoffBaseMs}-${retry.backoffMaxMs}`,
        ]),
    ...(retry.avoidPreviousHosts ? [] : ['retry on the same host']),
    ...(retry.otherLocalities ? ['retry elsewhere'] : []),
  ]
  return [destinationsText(destinations), ...extras].join('; ')
}

function ruleText(rule: HttpRule): string {
  const { action, requestHeaders, responseHeaders, cors, fault } = rule
  const done =
    action.kind === 'forward'
      ? forwardText(action)
      : action.kind === 'redirect'
        ? redirectText(action)
        : action.kind === 'respond'
          ? [
              action.status,
              ...(action.body ? [JSON.stringify(Buffer.from(action.body, 'base64').toString())] : []),
            ].join(' ')
          : '404'
  const extras = [...ops('request', requestHeaders), ...ops('response', responseHeaders)]
  if (fault?.delay) extras.push(`delay ${fault.delay.ppm / 10_000}% ${fault.delay.delayMs}`)
  if (fault?.abort)
    extras.push(`abort ${fault.abort.ppm / 10_000}% ${fault.abort.with.kind} ${fault.abort.with.status}`)
  if (cors)
    extras.push(
      `cors ${cors.allowOrigins.map((o) => (o.kind === 'any' ? '*' : text(o))).join(' ')} ${cors.allowMethods.join(',')} ${cors.maxAgeSeconds}s`,
    )
  return [`${matchText(rule)} → ${done}`, ...extras].join('; ')
}
const l4Text = (rule: L4Rule): string =>
  `${matchText(rule)} → ${rule.destinations.map(({ weight, to }) => `${rule.destinations.length === 1 ? '' : `${weight} `}${to.kind === 'invalid' ? 'reset' : toText(to)}`).join(' + ') || 'reset'}`

/** Rules of ports that routes say anything about. */
export function rulesText(all: Compiled, which: 'http' | 'l4'): Record<string, readonly string[]> {
  const found: Record<string, readonly string[]> = {}
  for (const { service, ports } of all.routes.list())
    for (const port of ports) {
      const [first] = port[which]
      if (port[which].length === 1 && first?.name === 'default') continue
      found[`${short(service)}:${port.port}`] =
        which === 'http' ? port.http.map(ruleText) : port.l4.map(l4Text)
    }
  return found
}

export const ruleNames = (all: Compiled, asked: string): readonly string[] =>
  all.routes
    .list()
    .flatMap(({ service, ports }) =>
      ports.flatMap(({ port, http }) =>
        `${short(service)}:${port}` === asked ? http.map(({ name }) => name) : [],
      ),
    )

const routesOf = (all: Compiled, name: string): ServiceRoutes | undefined =>
  all.routes.list().find(({ service }) => short(service) === name)

export const protocolsText = (all: Compiled, name: string): readonly string[] =>
  (routesOf(all, name)?.ports ?? []).map(({ port, protocol }) => {
    const policy = routesOf(all, name)?.policies.find(
      (one) => short(one.destination.service) === name && one.destination.port === port,
    )
    return `${port} ${protocol} ${policy?.http}`
  })

export const callsText = (all: Compiled, name: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    (routesOf(all, name)?.policies ?? []).map(({ destination, http }) => [toText(destination), http]),
  )

/** Of a destination's policy what is not as usual, by `service:port#subset`. */
export function policyOf(all: Compiled, asked: string): unknown {
  for (const { policies } of all.routes.list())
    for (const policy of policies)
      if (toText(policy.destination) === asked) {
        const plain = usualPolicy(policy.destination, undefined)
        return Object.fromEntries(
          Object.entries(different(policy, plain)).filter(
            ([key]) => key !== 'http' || policy.http !== 'http1',
          ),
        )
      }
  return 'there is none'
}

function different(one: Readonly<object>, usual: Readonly<object>): Record<string, unknown> {
  const before: Record<string, unknown> = { ...usual }
  const found: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(one)) {
    if (isDeepStrictEqual(value, before[key])) continue
    const inner: unknown = before[key]
    found[key] = isRecord(value) && isRecord(inner) && key === 'connections' ? different(value, inner) : value
  }
  return found
}

/** The conditions of an object of Istio's. */
export const conditionsText = ({ conditions }: Compiled, asked: string): string => {
  const [kind = '', key = ''] = asked.split(' ')
  if (kind !== 'VirtualService' && kind !== 'DestinationRule') return 'no such kind'
  return (conditions[kind].get(key) ?? [])
    .map(({ type, status, reason }) => {
      const name = type.replace('lateen.dev/', '')
      return status === 'True' && reason === name ? name : `${name}=${status}/${reason}`
    })
    .join(' ')
}
export const conditionMessage = ({ conditions }: Compiled, asked: string): string => {
  const [kind = '', key = ''] = asked.split(' ')
  if (kind !== 'VirtualService' && kind !== 'DestinationRule') return 'no such kind'
  return (conditions[kind].get(key) ?? []).map(({ message = '' }) => message).join('\n')
}

/** `Accepted ResolvedRefs` where all is well; what is not True for the reason of its own name is written out. */
export function statusText({ statuses }: Compiled): Record<string, readonly string[]> {
  const found: Record<string, readonly string[]> = {}
  for (const kind of Object.keys(statuses) as RouteKind[])
    for (const key of statuses[kind].keys())
      found[`${kind} ${key}`] = (statuses[kind].get(key) ?? []).map(({ conditions }) =>
        conditions
          .filter(({ type }) => type !== 'ResolvedWaypoints')
          .map(({ type, status, reason }) =>
            status === 'True' && reason === type ? type : `${type}=${status}/${reason}`,
          )
          .join(' '),
      )
  return found
}

export const messageOfCondition = ({ statuses }: Compiled, asked: string): string => {
  const [kind = '', key = '', type = ''] = asked.split(' ')
  const parents = statuses[kind as RouteKind].get(key) ?? []
  return parents
    .flatMap(({ conditions }) =>
      conditions.filter((one) => one.type === type).map(({ message = '' }) => message),
    )
    .join('\n')
}

// Requests

/** The routes as a waypoint reads them. */
export function asRead(routes: ServiceRoutes): ServiceRoutes {
  const parsed = parseServiceRoutes(routes.service, Buffer.from(JSON.stringify(routes)))
  if (parsed.kind === 'unreadable') throw new Error(parsed.problem)
  if (parsed.problems.length > 0) throw new Error(parsed.problems.join('\n'))
  return parsed.routes
}

const asked = /^(?:(\S+)>\s+)?(?:(\S+)\s+)?([^\s/]*)(\/\S*)((?:\s+\S+=\S*)*)$/
export function answerTo(line: string, all: Compiled, to: string): string {
  const [name = '', port = '80'] = to.split(':')
  const service = all.services.list().find((one) => short(one.name) === name)
  const routes = service && all.routes.get(service.name)
  const rules = routes && asRead(routes).ports.find((one) => one.port === Number(port))
  if (!rules) return 'no such port'
  if (line.startsWith('sni ') || line === 'tcp') {
    const choice = chooseL4(rules, line === 'tcp' ? undefined : line.slice(4), { namespace: 'shop' }, () => 0)
    return choice.kind === 'forward' ? toText(choice.to) : 'reset'
  }
  const [, caller = 'shop', method = 'GET', authority = '', path = '/', fields = ''] = asked.exec(line) ?? []
  const headers = new Map(
    fields
      .trim()
      .split(/\s+/)
      .filter(Boolean)
      .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  )
  const request: RouteRequest = {
    method,
    scheme: 'http',
    authority: authority || 'order',
    path,
    headers: { joined: (header) => headers.get(header) },
  }
  return choiceText(
    chooseRoute(routeTable(rules), request, { namespace: caller }, () => 0),
    request,
  )
}

function choiceText(choice: RouteChoice, request: RouteRequest): string {
  switch (choice.kind) {
    case 'forward': {
      const { authority = request.authority } = choice
      const path = choice.path === undefined ? request.path : changedTarget(request.path, choice.path)
      const changed =
        authority === request.authority && path === request.path
          ? ''
          : ` as ${splitAuthority(authority).host}${path}`
      return `${toText(choice.to)}${changed}`
    }
    case 'redirect':
      return `${choice.redirect.status} ${redirectLocation(choice.redirect, choice.rule.match, request)}`
    case 'respond':
      return String(choice.action.status)
    case 'refuse':
      return String(choice.status)
    case 'not-found':
      return '404'
  }
}
