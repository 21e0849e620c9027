/**
 * Every field that Istio's DestinationRule has (l7 2.2) changes how the destination is called, or is told in a condition,
 * and the webhook lets it pass. `does`: what waypoints obey is another; `told`: the condition names the field.
 */
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { isRecord } from '#base'
import { validateSpec } from '../../../controller/validation/index.ts'
import { compiled, conditionMessage, type Fields, overlay, type Usual } from './render.ts'

const usual = parse(readFileSync(`${import.meta.dirname}/golden/usual.yaml`, 'utf8'), {
  merge: true,
}) as Usual

type Expected = 'does' | 'told'
/** A field by its path in `trafficPolicy`, a value of it, what must stand beside it, and what comes of it. */
type Row = readonly [path: string, value: unknown, beside: Fields, expected: Expected]

const lb = (given: Fields = {}) => ({ loadBalancer: given })
const tcp = { connectionPool: { tcp: { maxConnections: 1 } } }
const http = { connectionPool: { http: { maxRetries: 1 } } }
const sick = { outlierDetection: { interval: '1s' } }
const hash = (given: Fields = {}) => lb({ consistentHash: { httpHeaderName: 'x', ...given } })
const cookie = lb({ consistentHash: { httpCookie: { name: 'c', ttl: '0s' } } })
const secure = (given: Fields = {}) => ({ tls: { mode: 'SIMPLE', ...given } })
const files = { mode: 'MUTUAL', clientCertificate: '/c', privateKey: '/k' }
const proxied = { tunnel: { targetHost: 'x.example', targetPort: 443 } }

const rows: readonly Row[] = [
  ['loadBalancer.simple', 'ROUND_ROBIN', {}, 'does'],
  ['loadBalancer.simple', 'RANDOM', {}, 'does'],
  ['loadBalancer.simple', 'PASSTHROUGH', {}, 'does'],
  ['loadBalancer.simple', 'LEAST_REQUEST', lb({ simple: 'RANDOM' }), 'does'],
  ['loadBalancer.consistentHash.httpHeaderName', 'y', hash(), 'does'],
  ['loadBalancer.consistentHash.httpCookie', { name: 'c', ttl: '0s' }, {}, 'does'],
  ['loadBalancer.consistentHash.httpCookie.name', 'd', cookie, 'does'],
  ['loadBalancer.consistentHash.httpCookie.path', '/p', cookie, 'does'],
  ['loadBalancer.consistentHash.httpCookie.ttl', '1h', cookie, 'does'],
  ['loadBalancer.consistentHash.httpCookie.attributes', [{ name: 'Secure', value: '' }], cookie, 'does'],
  ['loadBalancer.consistentHash.useSourceIp', true, {}, 'does'],
  ['loadBalancer.consistentHash.httpQueryParameterName', 'q', {}, 'does'],
  ['loadBalancer.consistentHash.ringHash.minimumRingSize', 2048, hash(), 'does'],
  ['loadBalancer.consistentHash.maglev', {}, hash(), 'does'],
  ['loadBalancer.consistentHash.maglev.tableSize', 1009, hash({ maglev: {} }), 'does'],
  ['loadBalancer.consistentHash.minimumRingSize', 2048, hash(), 'does'],
  ['loadBalancer.localityLbSetting.distribute', [{ from: 'r1', to: { r1: 100 } }], {}, 'does'],
  ['loadBalancer.localityLbSetting.failover', [{ from: 'r1', to: 'r2' }], sick, 'does'],
  ['loadBalancer.localityLbSetting.failover', [{ from: 'r1', to: 'r2' }], {}, 'told'],
  ['loadBalancer.localityLbSetting.failoverPriority', ['rack'], sick, 'does'],
  ['loadBalancer.localityLbSetting.enabled', false, sick, 'does'],
  ['loadBalancer.zoneAwareLbSetting', { enabled: true }, {}, 'told'],
  ['loadBalancer.warmup', { duration: '10s' }, {}, 'does'],
  ['loadBalancer.warmup.minimumPercent', 20, lb({ warmup: { duration: '10s' } }), 'does'],
  ['loadBalancer.warmup.aggression', 2, lb({ warmup: { duration: '10s' } }), 'does'],
  ['loadBalancer.warmup', { duration: '10s' }, lb({ simple: 'RANDOM' }), 'told'],
  ['loadBalancer.warmupDurationSecs', '10s', {}, 'does'],
  ['connectionPool.tcp.maxConnections', 2, tcp, 'does'],
  ['connectionPool.tcp.connectTimeout', '1s', tcp, 'does'],
  ['connectionPool.tcp.tcpKeepalive', { probes: 1 }, tcp, 'does'],
  ['connectionPool.tcp.tcpKeepalive.time', '1s', tcp, 'does'],
  ['connectionPool.tcp.tcpKeepalive.interval', '1s', tcp, 'does'],
  ['connectionPool.tcp.maxConnectionDuration', '1s', tcp, 'does'],
  ['connectionPool.tcp.idleTimeout', '1s', tcp, 'does'],
  ['connectionPool.http.http1MaxPendingRequests', 1, http, 'does'],
  ['connectionPool.http.http2MaxRequests', 1, http, 'does'],
  ['connectionPool.http.maxRequestsPerConnection', 1, http, 'does'],
  ['connectionPool.http.maxRetries', 2, http, 'does'],
  ['connectionPool.http.idleTimeout', '1s', http, 'does'],
  ['connectionPool.http.h2UpgradePolicy', 'UPGRADE', http, 'does'],
  ['connectionPool.http.useClientProtocol', true, http, 'does'],
  ['connectionPool.http.maxConcurrentStreams', 1, http, 'does'],
  ['connectionPool.http.http2KeepAlive', { interval: '1s', timeout: '1s' }, http, 'does'],
  ['outlierDetection.consecutiveErrors', 2, sick, 'told'],
  ['outlierDetection.consecutive5xxErrors', 2, sick, 'does'],
  ['outlierDetection.consecutiveGatewayErrors', 2, sick, 'does'],
  ['outlierDetection.splitExternalLocalOriginErrors', true, sick, 'does'],
  [
    'outlierDetection.consecutiveLocalOriginFailures',
    2,
    { outlierDetection: { splitExternalLocalOriginErrors: true } },
    'does',
  ],
  ['outlierDetection.interval', '2s', sick, 'does'],
  ['outlierDetection.baseEjectionTime', '1s', sick, 'does'],
  ['outlierDetection.maxEjectionPercent', 50, sick, 'does'],
  ['outlierDetection.minHealthPercent', 50, sick, 'does'],
  ['outlierDetection.outlierDetectionHttpErrorCodes', [429], sick, 'does'],
  ['tls.mode', 'SIMPLE', {}, 'does'],
  ['tls.mode', 'MUTUAL', { tls: { ...files, mode: 'SIMPLE' } }, 'does'],
  ['tls.clientCertificate', '/other', { tls: files }, 'does'],
  ['tls.privateKey', '/other', { tls: files }, 'does'],
  ['tls.caCertificates', '/ca', secure(), 'does'],
  ['tls.caCrl', '/crl', secure(), 'does'],
  ['tls.credentialName', 'secret', secure(), 'told'],
  ['tls.subjectAltNames', ['x.example'], secure(), 'does'],
  ['tls.sni', 'x.example', secure(), 'does'],
  ['tls.insecureSkipVerify', true, secure(), 'does'],
  ['portLevelSettings', [{ port: { number: 80 }, loadBalancer: { simple: 'RANDOM' } }], {}, 'does'],
  ['portLevelSettings', [{ port: { number: 81 }, loadBalancer: { simple: 'RANDOM' } }], {}, 'told'],
  ['tunnel', proxied.tunnel, {}, 'told'],
  ['tunnel.protocol', 'POST', proxied, 'does'],
  ['tunnel.targetHost', 'y.example', proxied, 'does'],
  ['tunnel.targetPort', 444, proxied, 'does'],
  ['proxyProtocol', { version: 'V1' }, {}, 'does'],
  ['proxyProtocol.version', 'V2', { proxyProtocol: { version: 'V1' } }, 'does'],
  ['retryBudget', { percent: 30 }, {}, 'does'],
  ['retryBudget.percent', 40, { retryBudget: { percent: 30 } }, 'does'],
  ['retryBudget.minRetryConcurrency', 5, { retryBudget: { percent: 30 } }, 'does'],
  ['retryBudget.budgetInterval', '1s', { retryBudget: { percent: 30 } }, 'does'],
]

const nested = (path: string, value: unknown): Fields => {
  const [first = '', ...rest] = path.split('.')
  return { [first]: rest.length === 0 ? value : nested(rest.join('.'), value) }
}
/** What comes of a DestinationRule with this policy, for port 80 of order. */
const comesOf = (trafficPolicy: Fields) => {
  const all = compiled({ title: '', given: [{ kind: 'DestinationRule', spec: { trafficPolicy } }] }, usual)
  const order = all.routes.list().find(({ service }) => service === 'shop/order.shop.svc.cluster.local')
  const policy = order?.policies.find(({ destination }) => destination.port === 80)
  return { policy, said: conditionMessage(all, 'DestinationRule shop/d') }
}

for (const [path, value, beside, expected] of rows)
  t.test(`${path}: ${JSON.stringify(value)} beside ${JSON.stringify(beside)} ${expected}`, async (t) => {
    const without = comesOf(beside)
    const policy = overlay(beside, nested(path, value))
    const given = comesOf(policy)
    const last = path.split('.').at(-1) ?? ''
    const isTold = !without.said.includes(`.${last}`) && given.said.includes(`.${last}`)
    const does = !isDeepStrictEqual(given.policy, without.policy)
    if (expected === 'told') t.ok(isTold, given.said)
    else t.ok(does, 'waypoints are told of something else')
    if (expected === 'does' && path !== 'loadBalancer.simple') t.notOk(isTold, given.said)
    const found = validateSpec('networking.istio.io', 'DestinationRule', {
      host: 'order',
      trafficPolicy: policy,
    })
    t.same(found?.errors, [], 'the webhook lets it pass')
  })

/** Paths of what the webhook knows: it must not know more of a policy than we have looked at here. */
t.test('what the webhook does not know is not in the table, and the other way round', async (t) => {
  const paths = [...new Set(rows.map(([path]) => path))]
  const groups = new Set(paths.map((path) => path.split('.')[0]))
  t.same([...groups].map(String).sort(), [
    'connectionPool',
    'loadBalancer',
    'outlierDetection',
    'portLevelSettings',
    'proxyProtocol',
    'retryBudget',
    'tls',
    'tunnel',
  ])
  for (const group of groups) {
    const { said } = comesOf({ [group ?? '']: { unheardOf: 1 } })
    t.match(said, /unheardOf|is not a list/, `${group}: a field that nobody knows is told`)
  }
  t.ok(isRecord(comesOf({}).policy))
})
