import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { type Collection, type Custom, fixed, Table } from '#kube'
import { isRecord } from '#base'
import { meshFrom } from '../../../controller/collections/index.ts'
import { routesFrom } from '../../../controller/routes/index.ts'
import { parseServiceRoutes } from '../../../lib/routes/index.ts'
import { inputsOf, settings } from '../collections/world.ts'
import { service } from '../mesh-kit.ts'

t.setTimeout(300_000) // thousands of computations, on a machine that may be slow

let seed = 11
const next = (below: number): number => {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
  return Math.floor((seed / 2_147_483_648) * below)
}
const pick = <T>(list: readonly T[]): T | undefined => list[next(list.length)]

const parentRefs = [{ group: '', kind: 'Service', name: 'order', port: 80 }]
const backendRefs = [
  {
    name: 'v1',
    port: 80,
    weight: 9,
    filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'a', value: 'b' }] } }],
  },
  { name: 'ledger', namespace: 'bank', port: 80 },
]
const matches = [
  {
    path: { type: 'PathPrefix', value: '/a' },
    headers: [{ type: 'RegularExpression', name: 'h', value: 'x|y' }],
    method: 'GET',
  },
  { queryParams: [{ name: 'q', value: '1' }] },
]
const filters = [
  {
    type: 'URLRewrite',
    urlRewrite: { hostname: 'h', path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/b' } },
  },
  {
    type: 'RequestMirror',
    requestMirror: { backendRef: { name: 'v1', port: 80 }, fraction: { numerator: 1, denominator: 3 } },
  },
  { type: 'CORS', cors: { allowOrigins: ['*'], maxAge: 5 } },
]
const timeouts = { request: '10s', backendRequest: '2s' }
const specs: Readonly<Record<string, unknown>> = {
  httpRoutes: {
    parentRefs,
    rules: [
      { name: 'n', matches, filters, backendRefs, timeouts, retry: { codes: [500], attempts: 2 } },
      { filters: [{ type: 'RequestRedirect', requestRedirect: { port: 81, statusCode: 301 } }] },
    ],
  },
  grpcRoutes: { parentRefs, rules: [{ matches: [{ method: { service: 's', method: 'm' } }], backendRefs }] },
  tlsRoutes: { parentRefs: [{ ...parentRefs[0], port: 90 }], hostnames: ['a.b'], rules: [{ backendRefs }] },
  tcpRoutes: { parentRefs: [{ ...parentRefs[0], port: 90 }], rules: [{ backendRefs }] },
  referenceGrants: {
    from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'shop' }],
    to: [{ group: '', kind: 'Service' }],
  },
  virtualServices: {
    hosts: ['order', 'order.shop.svc.cluster.local'],
    gateways: ['mesh'],
    exportTo: ['*'],
    http: [
      {
        name: 'n',
        match: [
          {
            uri: { prefix: '/a' },
            method: { exact: 'GET' },
            headers: { h: { regex: 'x|y' }, '@request.auth.claims.g': { exact: 'a' } },
            withoutHeaders: { w: {} },
            queryParams: { q: { exact: '' } },
            sourceLabels: { app: 'a' },
            sourceNamespace: 'bank',
            port: 80,
          },
        ],
        route: [
          { destination: { host: 'order', subset: 'v1', port: { number: 80 } }, weight: 9 },
          { destination: { host: 'v1' }, weight: 1, headers: { response: { remove: ['x'] } } },
        ],
        rewrite: { uri: '/b', authority: 'h' },
        timeout: '1.5s',
        retries: { attempts: 3, perTryTimeout: '2s', retryOn: '5xx,503', backoff: '10ms' },
        fault: {
          delay: { fixedDelay: '1s', percentage: { value: 50 } },
          abort: { grpcStatus: 'INTERNAL', percentage: { value: 0.1 } },
        },
        mirrors: [{ destination: { host: 'v1' }, percentage: { value: 1 } }],
        corsPolicy: { allowOrigins: [{ exact: '*' }], allowMethods: ['GET'], maxAge: '1h' },
        headers: { request: { set: { a: '%PROTOCOL%', host: 'x' }, add: { b: 'c' } } },
      },
      { redirect: { uri: '/x', authority: 'y:81', scheme: 'https', redirectCode: 307 } },
      { directResponse: { status: 503, body: { string: 'x' } }, headers: { response: { set: { a: 'b' } } } },
      { match: [{ uri: { prefix: '/d' } }], delegate: { name: 'b', namespace: 'shop' } },
      {
        route: [{ destination: { host: 'order' } }],
        rewrite: { uriRegexRewrite: { match: '(a)', rewrite: '\\1' } },
      },
    ],
    tls: [{ match: [{ port: 90, sniHosts: ['a.b'] }], route: [{ destination: { host: 'v1' } }] }],
    tcp: [{ match: [{ port: 90, sourceNamespace: 'shop' }], route: [{ destination: { host: 'v1' } }] }],
  },
  destinationRules: {
    host: 'order',
    trafficPolicy: {
      loadBalancer: {
        consistentHash: { httpCookie: { name: 'c', path: '/', ttl: '1s' }, maglev: { tableSize: 101 } },
        localityLbSetting: { distribute: [{ from: 'a/*', to: { 'a/*': 60, b: 40 } }] },
      },
      connectionPool: {
        tcp: { maxConnections: 1, connectTimeout: '1s', tcpKeepalive: { probes: 3, time: '10s' } },
        http: {
          maxRetries: 2,
          h2UpgradePolicy: 'UPGRADE',
          http2KeepAlive: { interval: '1s', timeout: '1s' },
        },
      },
      outlierDetection: { consecutive5xxErrors: 1, interval: '1s', outlierDetectionHttpErrorCodes: [500] },
      tls: { mode: 'MUTUAL', clientCertificate: '/c', privateKey: '/k', subjectAltNames: ['a'], sni: 'b' },
      portLevelSettings: [
        { port: { number: 90 }, loadBalancer: { simple: 'RANDOM', warmup: { duration: '1s' } } },
      ],
      tunnel: { targetHost: 'h', targetPort: 1 },
      proxyProtocol: { version: 'V2' },
      retryBudget: { percent: 20.5, minRetryConcurrency: 1 },
    },
    subsets: [
      { name: 'v1', labels: { version: 'v1' }, trafficPolicy: { loadBalancer: { simple: 'RANDOM' } } },
    ],
  },
}
const garbage: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e99,
  '',
  '/',
  '(',
  'constructor',
  '__proto__',
  'a\nb',
  'Exact',
  [],
  [[]],
  {},
  { type: 'x' },
  'x'.repeat(5_000),
  ['*'],
  { toString: 1 },
]

/** The same with something else at one place of it. */
function mutated(value: unknown): unknown {
  if (next(6) === 0) return pick(garbage)
  if (Array.isArray(value)) {
    const at = next(value.length)
    return value.map((item: unknown, i) => (i === at ? mutated(item) : item))
  }
  if (!isRecord(value)) return pick(garbage)
  const key = pick(Object.keys(value)) ?? 'more'
  if (next(12) === 0) return { ...value, [pick(['more', 'cookies', 'constructor']) ?? '']: pick(garbage) }
  return { ...value, [key]: mutated(value[key]) }
}

const kindsOfObjects = Object.keys(specs) as (keyof typeof tables)[]
const tables = {
  httpRoutes: new Table<Custom>('httpRoutes'),
  grpcRoutes: new Table<Custom>('grpcRoutes'),
  tlsRoutes: new Table<Custom>('tlsRoutes'),
  tcpRoutes: new Table<Custom>('tcpRoutes'),
  referenceGrants: new Table<Custom>('referenceGrants'),
  virtualServices: new Table<Custom>('virtualServices'),
  destinationRules: new Table<Custom>('destinationRules'),
}
const gateway: Custom = {
  metadata: { name: 'waypoint', namespace: 'shop' },
  spec: {
    gatewayClassName: 'istio-waypoint',
    listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
  },
  status: { addresses: [{ type: 'Hostname', value: 'waypoint.shop.svc.cluster.local' }] },
}
const ports = [
  { name: 'http', port: 80 },
  { name: 'other', port: 90 },
]
const ofShop = (name: string) => service('shop', name, { ports })
const inputs = inputsOf({
  namespaces: [{ metadata: { name: 'shop', labels: { 'istio.io/use-waypoint': 'waypoint' } } }],
  services: [ofShop('order'), ofShop('v1'), service('bank', 'ledger')] as never,
  gateways: [gateway],
})
const mesh = meshFrom(inputs, settings)
const derived = (of: (kind: keyof typeof tables) => Collection<Custom>) =>
  routesFrom(
    {
      httpRoutes: of('httpRoutes'),
      grpcRoutes: of('grpcRoutes'),
      tlsRoutes: of('tlsRoutes'),
      tcpRoutes: of('tcpRoutes'),
      referenceGrants: of('referenceGrants'),
      virtualServices: of('virtualServices'),
      destinationRules: of('destinationRules'),
      meshDefaults: fixed('MeshDefaults', {}),
    },
    inputs,
    mesh,
    settings,
  )
/** From the rows as they are, without their history. */
const afresh = () =>
  derived((kind) => {
    const { collection } = tables[kind]
    return fixed(
      kind,
      Object.fromEntries(collection.keys().map((key, i) => [key, collection.list()[i] as Custom])),
    )
  })
const listed = <T>(rows: Collection<T>) => rows.keys().map((key) => [key, rows.get(key)])
const said = (all: ReturnType<typeof derived>) => ({
  routes: all.resources.list().map(({ name, version }) => [name, version]),
  statuses: Object.values(all.statuses).map(listed),
  conditions: Object.values(all.conditions).map(listed),
})

t.test(
  'whatever is in the objects, waypoints can read what comes of it, and it does not depend on the order of events',
  async (t) => {
    const all = derived((kind) => tables[kind].collection)
    let closed = 0
    let ofIstio = 0
    for (let i = 1; i <= 1_600; i++) {
      const kind = pick(kindsOfObjects) ?? 'httpRoutes'
      const name = pick(['a', 'b', 'c']) ?? 'a'
      const namespace = kind === 'referenceGrants' ? 'bank' : (pick(['shop', 'bank']) ?? 'shop')
      const key = `${namespace}/${name}`
      let spec = specs[kind]
      for (let n = next(4); n > 0; n--) spec = mutated(spec)
      const created = `2026-01-0${next(3) + 1}T00:00:00Z`
      const row =
        next(5) === 0 ? undefined : { metadata: { name, namespace, creationTimestamp: created }, spec }
      tables[kind].apply([{ key, old: tables[kind].get(key), row }])
      if (row !== undefined && kind !== 'referenceGrants') {
        const status = {
          httpRoutes: 'HTTPRoute',
          grpcRoutes: 'GRPCRoute',
          tlsRoutes: 'TLSRoute',
          tcpRoutes: 'TCPRoute',
        } as const
        const written =
          kind === 'virtualServices'
            ? all.conditions.VirtualService
            : kind === 'destinationRules'
              ? all.conditions.DestinationRule
              : all.statuses[status[kind]]
        if (written.get(key) === undefined) t.fail(`no status for ${JSON.stringify(row)}`)
      }
      for (const { service: ofService, ports: routed } of all.routes.list()) {
        const bytes = all.resources.get(ofService)?.any.value ?? Buffer.alloc(0)
        const parsed = parseServiceRoutes(ofService, bytes)
        if (parsed.kind === 'unreadable' || parsed.problems.length > 0)
          t.fail(`${JSON.stringify(spec)}: ${JSON.stringify(parsed)}`)
        ofIstio += routed
          .flatMap(({ http }) => http)
          .filter(({ origin }) => origin.kind === 'VirtualService').length
        closed += routed.flatMap(({ http }) => http).filter(({ action }) => action.kind === 'respond').length
      }
      if (i % 100 === 0 && !isDeepStrictEqual(said(all), said(afresh())))
        t.fail(`event ${i}: not as computed afresh`)
    }
    t.ok(ofIstio > 300, `${ofIstio} rules of VirtualServices were seen`)
    t.ok(closed > 300, `${closed} closed rules were seen`)
  },
)
