import { isRecord } from '#base'
import type { Custom } from '#kube'
import type { RetryPolicy } from '#routes'
import { usualRetry } from './defaults.ts'
import {
  durationOf,
  type Field,
  isGiven,
  itemsOf,
  numberOf,
  partsOf,
  problem,
  textOf,
} from './gateway-api-fields.ts'
import { type FilterPlace, filterTypes, type ReadFilters, readFilters } from './gateway-api-filters.ts'
import { type RankedMatch, readGrpcMatches, readHttpMatches } from './gateway-api-matches.ts'
import { type BackendRef, readBackend, readRouteObject, type RouteObject } from './gateway-api-object.ts'

type HttpBackend = Readonly<{ ref: BackendRef; filters: ReadFilters }>

/** A rule as far as it can be read without knowing anything else. */
export type ReadRule = Readonly<{
  /** From 0. */
  index: number
  name: string | undefined
  matches: readonly RankedMatch[]
  backends: readonly HttpBackend[]
  filters: ReadFilters
  timeoutMs: number
  retry: RetryPolicy
  /** What cannot be followed: with any the rule answers 500 to whatever it matches. */
  problems: readonly string[]
  /** What is not done, although the rule is followed. */
  remarks: readonly string[]
}>

/** HTTPRoute or GRPCRoute. */
export type HttpRoute = RouteObject &
  Readonly<{
    rules: readonly ReadRule[]
    /** It has `hostnames`, which nobody looks at where the parent is a service (the Gateway API's rule). */
    namesHosts: boolean
  }>

/** The standard has 16; more is somebody else's schema. */
const maxRules = 128
const ruleFields = [
  'name',
  'matches',
  'filters',
  'backendRefs',
  'timeouts',
  'retry',
  'sessionPersistence',
] as const

export function readHttpRoute(kind: 'HTTPRoute' | 'GRPCRoute', object: Custom): HttpRoute {
  const route = readRouteObject(kind, object)
  const spec = isRecord(object.spec) ? object.spec : {}
  const remarks = [...route.remarks]
  const items = itemsOf({ value: spec['rules'], path: 'spec.rules', problems: remarks })
  if (items.length > maxRules) remarks.push(`spec.rules: those after the first ${maxRules} are not looked at`)
  // No rules at all are one that forwards nowhere for HTTPRoutes made by hand; the standard fills one in.
  const rules = items.slice(0, maxRules).map(({ value }, index) => readRule(route, value, index))
  return { ...route, rules, remarks, namesHosts: itemsOf(hostnamesIn(spec)).length > 0 }
}

const hostnamesIn = (spec: Readonly<Record<string, unknown>>): Field => ({
  value: spec['hostnames'],
  path: 'spec.hostnames',
  problems: [],
})

function readRule(route: RouteObject, value: unknown, index: number): ReadRule {
  const problems: string[] = []
  const field: Field = { value, path: `spec.rules[${index}]`, problems }
  const parts = partsOf(field, ruleFields)
  const part = (name: (typeof ruleFields)[number]): Field => parts?.[name] ?? { ...field, value: undefined }
  if (parts === undefined && problems.length === 0) problem(field, 'is empty')
  const isGrpc = route.kind === 'GRPCRoute'
  const matches = isGrpc ? readGrpcMatches(part('matches')) : readHttpMatches(part('matches'))
  const prefixOnly = matches.every(({ match }) => match.path?.kind === 'segments')
  const place = (types: FilterPlace['types']): FilterPlace => ({
    types,
    namespace: route.namespace,
    prefixOnly,
  })
  const filters = readFilters(part('filters'), place(isGrpc ? filterTypes.ofGrpc : filterTypes.ofRules))
  const backends = itemsOf(part('backendRefs')).flatMap((item): readonly HttpBackend[] => {
    const backend = readBackend(item, route.namespace)
    if (backend === undefined) return problem(item, 'is not a backend') ?? []
    const types = isGrpc ? filterTypes.ofGrpcBackends : filterTypes.ofBackends
    return [{ ref: backend.ref, filters: readFilters(backend.filters, place(types)) }]
  })
  if (filters.redirect && backends.length > 0) problem(part('backendRefs'), 'beside a RequestRedirect')
  const timeouts = readTimeouts(part('timeouts'))
  const retry = readRetry(part('retry'))
  const remarks = [
    ...(isGiven(part('sessionPersistence').value)
      ? [`${field.path}.sessionPersistence: is not honoured`]
      : []),
    ...(filters.redirect ? besideRedirect(part, filters) : []),
  ]
  return {
    index,
    name: textOf(parts?.name),
    matches,
    backends,
    filters,
    timeoutMs: timeouts.request,
    retry: { ...retry, perTryTimeoutMs: timeouts.backendRequest },
    problems,
    remarks,
  }
}

/** Nothing is sent on, so there is nothing to wait for, to try again or to copy. */
const besideRedirect = (part: (name: 'timeouts' | 'retry') => Field, { mirrors }: ReadFilters) => [
  ...(['timeouts', 'retry'] as const)
    .map(part)
    .flatMap(({ value, path }) => (isGiven(value) ? [`${path}: no effect beside RequestRedirect`] : [])),
  ...mirrors.map(({ ref }) => `${ref.path}: no effect beside RequestRedirect`),
]

/** 0 is off, and so is what is not said. */
function readTimeouts(field: Field): Readonly<{ request: number; backendRequest: number }> {
  const parts = partsOf(field, ['request', 'backendRequest'])
  const request = durationOf(parts?.request) ?? 0
  const backendRequest = durationOf(parts?.backendRequest) ?? 0
  if (parts && request > 0 && backendRequest > request)
    problem(parts.backendRequest, 'is longer than the request may take')
  return { request, backendRequest }
}

/** Without one there are Istio's for the whole mesh; with one, errors of connections too are tried again. */
function readRetry(field: Field): RetryPolicy {
  const parts = partsOf(field, ['codes', 'attempts', 'backoff'])
  if (parts === undefined) return usualRetry
  const codes = itemsOf(parts.codes).flatMap((item) => numberOf(item, 400, 599) ?? [])
  const backoff = durationOf(parts.backoff)
  const baseMs = backoff === undefined ? usualRetry.backoffBaseMs : Math.max(1, backoff)
  return {
    ...usualRetry,
    attempts: numberOf(parts.attempts, 0, 1_000) ?? usualRetry.attempts,
    on: [...usualRetry.on, 'reset', ...(codes.length > 0 ? (['retriable-status-codes'] as const) : [])],
    statuses: codes,
    backoffBaseMs: baseMs,
    backoffMaxMs: 10 * baseMs,
  }
}
