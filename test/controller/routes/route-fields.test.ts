/**
 * Every field that routes of the Gateway API have (l7 1.3 to 1.6) changes what waypoints obey, or is told in a condition
 * that names it. `does`: what waypoints obey is another; a word: the field that a condition names then.
 */
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { isRecord } from '#base'
import type { RouteKind } from '../../../controller/routes/index.ts'
import { compiled, type Fields, type Usual } from './render.ts'

const usual = parse(readFileSync(`${import.meta.dirname}/golden/usual.yaml`, 'utf8'), {
  merge: true,
}) as Usual

/** What a route says besides, and what comes of it. */
type Row = readonly [said: Fields, comes: string]

const to = { name: 'order-v1', port: 80 }
const rule = (more: Fields) => ({ rules: [more] })
const match = (more: Fields) => rule({ matches: [more] })
const filters = (...all: readonly Fields[]) => rule({ filters: all })
const forward = rule({ backendRefs: [to] })
const headers = { set: [{ name: 'a', value: 'b' }] }
const header = (more: Fields = {}) => ({ name: 'h', value: 'v', ...more })
const path = (type: string, value = '/a') => match({ path: { type, value } })
const backend = (more: Fields) => rule({ backendRefs: [{ ...to, ...more }] })
const lists = (type: string, name: string): readonly Row[] =>
  (['set', 'add'] as const)
    .map((list): Row => [filters({ type, [name]: { [list]: headers.set } }), 'does'])
    .concat([[filters({ type, [name]: { remove: ['a'] } }), 'does']])

const ofAll: readonly Row[] = [
  [{ parentRefs: [{ group: '', kind: 'Service', name: 'order-v2', port: 9000 }] }, 'does'],
  [{ parentRefs: [{ group: '', kind: 'Service', name: 'order', sectionName: 'none' }] }, 'Accepted'],
  [{ parentRefs: [{ group: '', kind: 'Service', name: 'order', port: 81 }] }, 'Accepted'],
  [rule({ backendRefs: [{ name: 'order-v2', port: 80 }] }), 'does'],
  [rule({ backendRefs: [to, { name: 'order-v2', port: 80, weight: 5 }] }), 'does'],
  [backend({ port: 81 }), 'backendRefs'],
  [backend({ kind: 'ConfigMap' }), 'backendRefs'],
  [backend({ group: 'x' }), 'backendRefs'],
  [backend({ namespace: 'bank', name: 'ledger' }), 'backendRefs'],
  [rule({ name: 'n' }), 'does'],
  [rule({ unheardOf: 1 }), 'unheardOf'],
  [{ unheardOf: 1 }, 'unheardOf'],
  [{ useDefaultGateways: 'All' }, 'useDefaultGateways'],
]
const ofHttp: readonly Row[] = [
  [{ hostnames: ['a.example'] }, 'hostnames'],
  ...lists('RequestHeaderModifier', 'requestHeaderModifier'),
  ...lists('ResponseHeaderModifier', 'responseHeaderModifier'),
  [filters({ type: 'RequestHeaderModifier', responseHeaderModifier: headers }), 'responseHeaderModifier'],
  [filters({ type: null, requestHeaderModifier: headers }), 'filters'],
  [filters({ type: 'RequestMirror', requestMirror: { backendRef: to } }), 'does'],
  [filters({ type: 'RequestMirror', requestMirror: { backendRef: to, percent: 5 } }), 'does'],
  [filters({ type: 'RequestMirror', requestMirror: { backendRef: to, fraction: { numerator: 1 } } }), 'does'],
  [
    filters({
      type: 'RequestMirror',
      requestMirror: { backendRef: { ...to, filters: [{ type: 'CORS' }] } },
    }),
    'filters',
  ],
  [filters({ type: 'ExtensionRef', extensionRef: { group: 'x', kind: 'y', name: 'z' } }), 'type'],
  [backend({ filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: headers }] }), 'does'],
  [backend({ filters: [{ type: 'ResponseHeaderModifier', responseHeaderModifier: headers }] }), 'does'],
  [backend({ filters: [{ type: 'RequestMirror', requestMirror: { backendRef: to } }] }), 'type'],
  [match({ headers: [header()] }), 'does'],
  [match({ headers: [header({ type: 'RegularExpression' })] }), 'does'],
  [match({ headers: [header({ name: 'x y' })] }), 'headers'],
  [rule({ matches: [null] }), 'matches'],
  [rule({ sessionPersistence: { sessionName: 's' } }), 'sessionPersistence'],
]
const redirect = (more: Fields) => ({ type: 'RequestRedirect', requestRedirect: { hostname: 'x', ...more } })
const rewrite = (more: Fields) => filters({ type: 'URLRewrite', urlRewrite: more })
const whole = { type: 'ReplaceFullPath', replaceFullPath: '/x' }
const prefix = { type: 'ReplacePrefixMatch', replacePrefixMatch: '/x' }
const cors = (more: Fields) => filters({ type: 'CORS', cors: { allowOrigins: ['https://a'], ...more } })
const noBackends = { backendRefs: [] }
const redirected = (more: Fields) => rule({ ...noBackends, filters: [redirect(more)] })
const ofHttpRoutes: readonly Row[] = [
  [path('Exact'), 'does'],
  [path('PathPrefix'), 'does'],
  [path('RegularExpression'), 'does'],
  [path('Exact', 'a'), 'value'],
  [match({ queryParams: [header()] }), 'does'],
  [match({ method: 'GET' }), 'does'],
  [rewrite({ hostname: 'x' }), 'does'],
  [rewrite({ path: whole }), 'does'],
  [rewrite({ path: prefix }), 'does'],
  [rewrite({ path: { ...prefix, ...whole } }), 'replacePrefixMatch'],
  [rewrite({ path: { ...whole, type: null } }), 'path'],
  [redirected({}), 'does'],
  [redirected({ scheme: 'https' }), 'does'],
  [redirected({ port: 81 }), 'does'],
  [redirected({ statusCode: 308 }), 'does'],
  [redirected({ path: whole }), 'does'],
  [rule({ ...noBackends, filters: [redirect({})], timeouts: { request: '1s' } }), 'timeouts'],
  [rule({ ...noBackends, filters: [redirect({})], retry: { attempts: 4 } }), 'retry'],
  [
    rule({
      ...noBackends,
      filters: [redirect({}), { type: 'RequestMirror', requestMirror: { backendRef: to } }],
    }),
    'requestMirror',
  ],
  [cors({}), 'does'],
  [cors({ allowMethods: ['PUT'] }), 'does'],
  [cors({ allowHeaders: ['x'] }), 'does'],
  [cors({ exposeHeaders: ['x'] }), 'does'],
  [cors({ maxAge: 9 }), 'does'],
  [cors({ allowCredentials: true }), 'does'],
  [filters({ type: 'ExternalAuth', externalAuth: { protocol: 'GRPC', backendRef: to } }), 'type'],
  [backend({ filters: [{ type: 'URLRewrite', urlRewrite: { hostname: 'x' } }] }), 'does'],
  [backend({ filters: [redirect({})] }), 'does'],
  [rule({ timeouts: { request: '1s' } }), 'does'],
  [rule({ timeouts: { backendRequest: '1s' } }), 'does'],
  [rule({ retry: { codes: [503] } }), 'does'],
  [rule({ retry: { attempts: 4 } }), 'does'],
  [rule({ retry: { backoff: '1s' } }), 'does'],
]
const called = (method: Fields) => match({ method })
const ofGrpcRoutes: readonly Row[] = [
  [called({ service: 's' }), 'does'],
  [called({ method: 'm' }), 'does'],
  [called({ service: 's', method: 'm', type: 'RegularExpression' }), 'does'],
  [rewrite({ hostname: 'x' }), 'type'],
]
const tables: Readonly<Record<RouteKind, readonly Row[]>> = {
  HTTPRoute: [...ofAll, ...ofHttp, ...ofHttpRoutes],
  GRPCRoute: [...ofAll, ...ofHttp, ...ofGrpcRoutes],
  TLSRoute: [...ofAll, [{ hostnames: ['*.example'] }, 'does'], [backend({ filters: [] }), 'filters']],
  TCPRoute: [...ofAll, [{ hostnames: ['a.example'] }, 'hostnames'], [backend({ filters: [] }), 'filters']],
}

/** `over` laid over `base`, also the members of lists. Unlike the golden cases' overlay it keeps what is null. */
function laid(base: unknown, over: unknown): unknown {
  if (Array.isArray(base) && Array.isArray(over) && over.length > 0)
    return over.map((one: unknown, i) => laid(base[i], one))
  if (!isRecord(base) || !isRecord(over)) return over
  const keys = [...new Set([...Object.keys(base), ...Object.keys(over)])]
  return Object.fromEntries(keys.map((key) => [key, key in over ? laid(base[key], over[key]) : base[key]]))
}
const names: Readonly<Record<RouteKind, string>> = {
  HTTPRoute: 'shop/r',
  GRPCRoute: 'shop/g',
  TLSRoute: 'shop/tls',
  TCPRoute: 'shop/tcp',
}
function comesOf(kind: RouteKind, said: Fields) {
  const spec = laid({ ...(usual.given[kind]?.['spec'] as Fields), ...forward }, said)
  const given = { ...usual.given, [kind]: { ...usual.given[kind], spec } }
  const all = compiled({ title: '', given: [{ kind }] }, { ...usual, given })
  const conditions = (all.statuses[kind].get(names[kind]) ?? []).flatMap((one) => one.conditions)
  const told = conditions
    .filter(({ type }) => type !== 'ResolvedWaypoints')
    .map(({ type, status, message }) => (status === 'True' ? message : `.${type}: ${message}`))
  return { routes: all.routes.list(), told: told.join('\n') }
}

for (const kind of ['HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute'] as const) {
  const without = comesOf(kind, {})
  for (const [said, comes] of tables[kind])
    t.test(`${kind}: ${JSON.stringify(said)}: ${comes}`, async (t) => {
      const given = comesOf(kind, said)
      if (comes !== 'does') return t.match(given.told, new RegExp(String.raw`\.${comes}\b`))
      t.notOk(isDeepStrictEqual(given.routes, without.routes), 'waypoints are told of something else')
      return t.equal(given.told, without.told)
    })
}

t.test('however much is wrong with a route, what it is told is short enough to be written', async (t) => {
  const bad = { matches: Array.from({ length: 64 }, () => ({ headers: [{ type: 'x'.repeat(200) }] })) }
  const { told } = comesOf('HTTPRoute', { rules: Array.from({ length: 16 }, () => bad) })
  t.ok(told.length < 4_096, `${told.length} characters`)
})
