/**
 * Every field that Istio's VirtualService has (l7 2.1) changes what waypoints obey, or is told in a condition that names
 * it; and what the webhook says of a bad value is what conditions say of one that is there all the same.
 */
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { isRecord } from '#base'
import type { Custom } from '#kube'
import { routeFindings } from '../../../controller/routes/index.ts'
import { merged, validateSpec } from '../../../controller/validation/index.ts'
import { compiled, conditionMessage, type Fields, type Usual } from './render.ts'

t.setTimeout(300_000) // some hundred meshes, on a machine that may be slow

const usual = parse(readFileSync(`${import.meta.dirname}/golden/usual.yaml`, 'utf8'), {
  merge: true,
}) as Usual

/** A field by its path, a value of it, and what comes of it: `does`, or the word that a condition says then. */
type Row = readonly [path: string, value: unknown, comes?: string]

const route = [{ destination: { host: 'order-v1' } }]
const two = [...route, { destination: { host: 'order-v2' }, weight: 1 }]
const spec = (more: Fields): Fields => ({ hosts: ['order'], ...more })
const http = (more: Fields): Fields => spec({ http: [more] })
const forwarding = http({ route })
const redirecting = http({ redirect: { authority: 'x' } })
const answering = http({ directResponse: { status: 200 } })
const faulty = http({ route, fault: { delay: { fixedDelay: '1s' }, abort: { httpStatus: 500 } } })
const mirroring = http({ route, mirror: { host: 'order-v2' } })
const mirrors = [{ destination: { host: 'order-v2' } }]
const cors = http({ route, corsPolicy: { allowOrigins: [{ exact: 'https://a' }] } })
const text = { exact: 'x' }
const match = (more: Fields): readonly [string, unknown] => ['http.0.match', [more]]
const ops = (at: string): readonly Row[] =>
  ['request', 'response'].flatMap((way) => [
    [`${at}.headers.${way}.set`, { a: 'b' }],
    [`${at}.headers.${way}.add`, { a: '%PROTOCOL%' }],
    [`${at}.headers.${way}.remove`, ['a']],
  ])
/** What only requests that are sent on have. */
const ofRequests: readonly Row[] = [
  ['http.0.timeout', '3s', 'timeout'],
  ['http.0.retries', { attempts: 5 }, 'retries'],
  ['http.0.mirror', { host: 'order-v2' }, 'mirror'],
  ['http.0.mirrors', mirrors, 'mirrors'],
  ['http.0.mirrorPercentage', { value: 3 }, 'mirrorPercentage'],
  ['http.0.headers', { request: { set: { a: 'b' } } }, 'headers.request'],
  ['http.0.headers', { response: { set: { a: 'b' } } }],
  ['http.0.corsPolicy', { allowOrigins: [text] }],
  ['http.0.rewrite', { uri: '/x' }, 'rewrite'],
  ['http.0.fault', { delay: { fixedDelay: '1s', percent: 5 } }, 'fault'],
]
const ofL4 = (list: 'tls' | 'tcp'): readonly Row[] => [
  [`${list}.0.match.0.port`, 9000],
  [`${list}.0.match.0.port`, 81, 'no port 81'],
  [`${list}.0.match.0.sourceLabels`, { a: 'b' }],
  [`${list}.0.match.0.sourceNamespace`, 'bank'],
  [`${list}.0.match.0.gateways`, ['shop/gw']],
  [`${list}.0.match.0.destinationSubnets`, ['10.0.0.0/8'], 'destinationSubnets'],
  [`${list}.0.match.0.statPrefix`, 'x', 'statPrefix'],
  [`${list}.0.route`, two],
  [`${list}.0.route.0.destination.port`, { number: 9000 }],
  [`${list}.0.route.0.destination.subset`, 'v9', 'subset v9'],
  [`${list}.0.route.0.headers`, { request: { set: { a: 'b' } } }, 'headers'],
  [`${list}.0.route`, [null], 'route'],
  [`${list}.0.match`, [null], 'match'],
]

const tables: readonly (readonly [beside: Fields, rows: readonly Row[]])[] = [
  [
    forwarding,
    [
      ['hosts', ['order-v2']],
      ['gateways', ['shop/gw'], 'gateways'],
      ['gateways', ['mesh', 'shop/gw'], 'gateways: nothing here serves shop/gw'],
      ['exportTo', ['~'], 'exportTo'],
      ['exportTo', ['bank'], 'exportTo'],
      ['unheardOf', 1, 'unheardOf'],
      ['http', [null], 'http'],
      ['http.0.unheardOf', 1, 'unheardOf'],
      ['http.0.name', 'n'],
      match({ name: 'm' }),
      ...['uri', 'scheme', 'method', 'authority'].flatMap((name): readonly Row[] => [
        match({ [name]: { exact: '/a' } }),
        match({ [name]: { prefix: '/a' } }),
        match({ [name]: { regex: '/a' } }),
        [...match({ [name]: { suffix: '/a' } }), 'suffix'],
      ]),
      match({ uri: { prefix: '/a' }, ignoreUriCase: true }),
      ...['headers', 'withoutHeaders', 'queryParams'].map((name) => match({ [name]: { x: text } })),
      match({ headers: { 'X-Up': {} } }),
      match({ headers: { '@request.auth.claims.x': text } }),
      match({ port: 80 }),
      [...match({ port: 81 }), 'no port 81'],
      match({ port: 443, gateways: ['shop/gw'] }),
      match({ sourceLabels: { app: 'x' } }),
      match({ sourceNamespace: 'bank' }),
      match({ gateways: ['shop/gw'] }),
      [...match({ statPrefix: 'p' }), 'statPrefix'],
      ['http.0.match', [null], 'match'],
      ['http.0.route', two],
      ['http.0.route', [...route, null], 'route'],
      ['http.0.route', [...route, ...route], 'weights'],
      ['http.0.route.0.destination.port', { number: 9000 }],
      ['http.0.route.0.destination.port', { number: 81 }, 'no port 81'],
      ['http.0.route.0.destination.subset', 'v9', 'subset v9'],
      ...ops('http.0.route.0'),
      ...ops('http.0'),
      ['http.0.headers.request.set', { Host: 'x' }],
      ['http.0.rewrite', { uri: '/x' }],
      ['http.0.rewrite', { authority: 'x' }],
      ['http.0.rewrite', { uriRegexRewrite: { match: 'a', rewrite: '/b' } }],
      ['http.0.timeout', '3s'],
      ['http.0.retries', { attempts: 5 }],
      ['http.0.retries', { attempts: 5, perTryTimeout: '1s' }],
      ['http.0.retries', { attempts: 2, retryOn: '5xx,503' }],
      ['http.0.retries', { attempts: 2, retryOn: 'http3-post-connect-failure' }, 'retryOn'],
      ['http.0.retries', { attempts: 2, retryRemoteLocalities: true }],
      ['http.0.retries', { attempts: 2, retryIgnorePreviousHosts: false }],
      ['http.0.retries', { attempts: 2, backoff: '1s' }],
      ['http.0.mirror', { host: 'order-v2' }],
      ['http.0.mirrors', mirrors],
      ['http.0.mirrors', [{ ...mirrors[0], percentage: { value: 5 } }]],
      ['http.0.mirrorPercentage', { value: 5 }, 'mirrorPercentage'],
      ['http.0.mirrorPercent', 5, 'mirrorPercent'],
      ['http.0.fault', { delay: { fixedDelay: '1s' } }, 'nothing is delayed'],
      ['http.0.fault', { abort: { httpStatus: 500 } }, 'nothing is aborted'],
    ],
  ],
  [redirecting, [...ofRequests]],
  [
    redirecting,
    [
      ['http.0.redirect.uri', '/x'],
      ['http.0.redirect.authority', 'y'],
      ['http.0.redirect.scheme', 'https'],
      ['http.0.redirect.port', 81],
      ['http.0.redirect.derivePort', 'FROM_REQUEST_PORT'],
      ['http.0.redirect.redirectCode', 308],
      ['http.0.redirect.prefixRewrite', '/x'],
      ['http.0.delegate', { name: 'x' }, 'delegate'],
    ],
  ],
  [
    answering,
    [
      ...ofRequests,
      ['http.0.directResponse.status', 404],
      ['http.0.directResponse.body', { string: 'x' }],
      ['http.0.directResponse.body', { bytes: 'eA==' }],
    ],
  ],
  [
    faulty,
    [
      ['http.0.fault.delay.percentage', { value: 5 }],
      ['http.0.fault.delay.percent', 5],
      ['http.0.fault.delay.fixedDelay', '2s'],
      ['http.0.fault.delay.exponentialDelay', '2s', 'exponentialDelay'],
      ['http.0.fault.abort.percentage', { value: 5 }],
      ['http.0.fault.abort.httpStatus', 418],
      ['http.0.fault.abort', { grpcStatus: 'NOT_FOUND', percentage: { value: 5 } }],
      ['http.0.fault.abort.http2Error', 'X', 'http2Error'],
      ['http.0.fault.abort', {}, 'needs one of'],
    ],
  ],
  [
    mirroring,
    [
      ['http.0.mirrorPercentage', { value: 5 }],
      ['http.0.mirrorPercent', 5],
      ['http.0.mirror.port', { number: 9000 }],
      ['http.0.mirror.subset', 'v9', 'subset v9'],
    ],
  ],
  [
    cors,
    [
      ['http.0.corsPolicy.allowOrigins', [{ prefix: 'https://' }]],
      ['http.0.corsPolicy.allowOrigin', ['x']],
      ['http.0.corsPolicy.allowMethods', ['GET']],
      ['http.0.corsPolicy.allowHeaders', ['x']],
      ['http.0.corsPolicy.exposeHeaders', ['x']],
      ['http.0.corsPolicy.maxAge', '10s'],
      ['http.0.corsPolicy.allowCredentials', true],
      ['http.0.corsPolicy.unmatchedPreflights', 'IGNORE'],
    ],
  ],
  [
    spec({ tls: [{ match: [{ sniHosts: ['order'] }], route }] }),
    [...ofL4('tls'), ['tls.0.match.0.sniHosts', ['x'], 'sniHosts']],
  ],
  [
    spec({ tcp: [{ match: [{}], route }] }),
    [...ofL4('tcp'), ['tcp.0.match.0.sourceSubnet', '10.0.0.0/8', 'source']],
  ],
]

/** `value` in the place of what is at `path`. */
function put(into: unknown, path: string, value: unknown): unknown {
  const [first = '', ...rest] = path.split('.')
  if (Array.isArray(into))
    return into.map((one: unknown, i) =>
      String(i) === first ? (rest.length === 0 ? value : put(one, rest.join('.'), value)) : one,
    )
  const map = isRecord(into) ? into : {}
  return { ...map, [first]: rest.length === 0 ? value : put(map[first], rest.join('.'), value) }
}
function comesOf(given: unknown) {
  const laid = { ...usual.given, VirtualService: { ...usual.given['VirtualService'], spec: given as Fields } }
  const all = compiled({ title: '', given: [{ kind: 'VirtualService' }] }, { ...usual, given: laid })
  return { routes: all.routes.list(), said: conditionMessage(all, 'VirtualService shop/r') }
}
/** What who writes it is told. */
function toldBy(given: unknown): readonly string[] {
  const object = { metadata: { name: 'r', namespace: 'shop' }, spec: given } as Custom
  const found = merged(
    validateSpec('networking.istio.io', 'VirtualService', given),
    routeFindings('networking.istio.io', 'VirtualService', object, 'cluster.local'),
  )
  return [...(found?.errors ?? []), ...(found?.warnings ?? [])]
}

for (const [beside, rows] of tables) {
  const without = comesOf(beside)
  for (const [path, value, comes = 'does'] of rows)
    t.test(`${path}: ${JSON.stringify(value)} beside ${JSON.stringify(beside)}: ${comes}`, async (t) => {
      const given = comesOf(put(beside, path, value))
      if (comes !== 'does') {
        t.notOk(without.said.includes(comes), 'is not said anyway')
        t.ok(given.said.includes(comes), given.said)
        return
      }
      t.notOk(isDeepStrictEqual(given.routes, without.routes), 'waypoints are told of something else')
      if (path !== 'hosts') t.equal(given.said.split('\n').slice(0, 1).join(), without.said.split('\n')[0])
    })
}

const bad: readonly unknown[] = [
  null,
  [],
  {},
  [null],
  '',
  'a\r\nb: c',
  'ünï',
  -1,
  1e18,
  true,
  { unheardOf: 1 },
]
const whole: Fields = http({
  name: 'n',
  match: [{ uri: { prefix: '/a' }, headers: { h: text }, sourceNamespace: 'bank', port: 80 }],
  route: [
    { destination: { host: 'order-v1', port: { number: 80 } }, headers: { request: { set: { a: 'b' } } } },
  ],
  rewrite: { uri: '/b', authority: 'h' },
  timeout: '1s',
  retries: { attempts: 3, retryOn: '5xx', backoff: '10ms' },
  fault: { delay: { fixedDelay: '1s', percentage: { value: 50 } } },
  mirrors: [{ destination: { host: 'order-v1' }, percentage: { value: 1 } }],
  corsPolicy: { allowOrigins: [text], allowHeaders: ['x'], maxAge: '1h' },
})
const pathsIn = (value: unknown, at: string): readonly string[] => [
  at,
  ...(isRecord(value) || Array.isArray(value)
    ? Object.entries(value).flatMap(([key, one]) => pathsIn(one, `${at}.${key}`))
    : []),
]

t.test(
  'whoever writes a value that is not followed is told so, and so is who looks at the object',
  async (t) => {
    const usually = { said: comesOf(whole).said, told: toldBy(whole) }
    t.same(usually.told, [])
    for (const path of pathsIn(whole['http'], 'http'))
      for (const value of bad) {
        const given = put(whole, path, value)
        const [isTold, isSaid] = [toldBy(given).length > 0, comesOf(given).said !== usually.said]
        if (isTold !== isSaid)
          t.fail(`${path}: ${JSON.stringify(value)}: ${isTold ? 'told' : 'not told'} to who writes it`, {
            told: toldBy(given),
            said: comesOf(given).said,
          })
      }
  },
)
