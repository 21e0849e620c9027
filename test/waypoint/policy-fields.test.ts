/**
 * Every field of a destination's policy is obeyed by waypoints, or told: by a test of its effect. A field that is added to
 * the model fails here until it has one.
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { z } from 'zod'
import { destinationPolicy } from '../../lib/routes/policy-schema.ts'

/** What of zod's own description we look at. */
type Shape = Readonly<{
  type: string
  shape?: Readonly<Record<string, z.ZodType>>
  innerType?: z.ZodType
  element?: z.ZodType
  options?: readonly z.ZodType[]
  entries?: Readonly<Record<string, string>>
  values?: readonly unknown[]
}>
const shapeOf = (schema: z.ZodType): Shape => schema._zod.def as Shape

/** `a.b`, `a[]` for members, `a=x` for each word that it may be. */
function* pathsOf(schema: z.ZodType, at = ''): Generator<string> {
  const { type, shape = {}, innerType, element, options = [], entries = {}, values = [] } = shapeOf(schema)
  if (type === 'object')
    for (const [name, one] of Object.entries(shape)) yield* pathsOf(one, at === '' ? name : `${at}.${name}`)
  else if (innerType) yield* pathsOf(innerType, at)
  else if (element) yield* pathsOf(element, `${at}[]`)
  else if (options.length > 0) for (const one of options) yield* pathsOf(one, at)
  else if (type === 'enum') for (const word of Object.values(entries)) yield `${at}=${word}`
  else if (type === 'literal') for (const word of values) yield `${at}=${String(word)}`
  else yield at
}

/** A test file in test/, and a test of it by its title or the beginning of that. */
type Proof = readonly [file: string, title: string]

const balance = (title: string): Proof => ['waypoint/upstream/balance.test.ts', title]
const outliers = (title: string): Proof => ['waypoint/upstream/outliers.test.ts', title]
const localities = (title: string): Proof => ['waypoint/upstream/localities.test.ts', title]
const requests = (title: string): Proof => ['waypoint/destinations.test.ts', title]
const connections = (title: string): Proof => ['waypoint/connections.test.ts', title]
const tls = (title: string): Proof => ['waypoint/upstream-tls.test.ts', title]
const kinds = (title: string): Proof => ['waypoint/upstream-tls-kinds.test.ts', title]

const notDone = tls('what we cannot do for a destination fails')
const hashing = balance('a hash stays with its host')
const hashed = balance('what is hashed')
const cookies = requests('a client without a cookie is given one')
const times: Proof = localities('warm-up from')
const byRegion = localities('closest first by region, zone and subzone')
const byLabels = localities('closest first by labels')
const shares = localities('shares by locality')
const keepAlive = connections('the kernel asks a silent server')
const pings: Proof = ['lib/http/pool.test.ts', 'a peer of HTTP/2 that is asked and says nothing']
const budget: Proof = ['lib/routes/retry.test.ts', 'retries have room up to a number']
const ejections = outliers('ejections get longer up to a bound')
const known: Proof = ['lib/routes/parse.test.ts', 'a policy that cannot be read']

/** Fields by their paths, or the beginning of several. */
const proofs: Readonly<Record<string, readonly Proof[]>> = {
  destination: [requests('any label tells subsets apart')],
  labels: [
    localities('a subset has the endpoints with its labels'),
    requests('any label tells subsets apart'),
  ],
  // For logs and people.
  origin: [known],
  'http=http1': [kinds('HTTP/2 is agreed on')],
  'http=http2': [['waypoint/protocols.test.ts', 'HTTP/1.1 in, HTTP/2 out']],
  'http=client': [['waypoint/protocols.test.ts', 'HTTP/2 with prior knowledge']],
  'loadBalancer.kind=least-request': [
    balance('of two the one with less to do'),
    balance('with unequal weights'),
  ],
  'loadBalancer.kind=round-robin': [balance('round robin leaves nobody out')],
  'loadBalancer.kind=random': [localities('shares by locality hold for every balancer')],
  'loadBalancer.kind=passthrough': [balance('what was asked for is a service')],
  'loadBalancer.kind=ring-hash': [hashing, requests('who is hashed to a host')],
  'loadBalancer.kind=maglev': [hashing, connections('a client that is not HTTP stays with the host')],
  'loadBalancer.minimumRingSize': [balance('a ring is as large as it must be')],
  'loadBalancer.tableSize': [balance('a table has as many places as it says')],
  'loadBalancer.keys[].kind': [hashed],
  'loadBalancer.keys[].kind=cookie': [cookies],
  'loadBalancer.keys[].kind=source-ip': [connections('a client that is not HTTP stays with the host')],
  'loadBalancer.keys[].name': [hashed],
  'loadBalancer.keys[].path': [cookies],
  'loadBalancer.keys[].ttlMs': [cookies],
  'loadBalancer.keys[].attributes': [cookies],
  'locality.kind=service': [localities('as the service says')],
  'locality.kind=failover': [byRegion],
  'locality.regions': [byRegion],
  'locality.kind=failover-labels': [byLabels],
  'locality.labels': [byLabels],
  'locality.kind=distribute': [shares],
  'locality.shares': [shares],
  warmup: [times, localities('a new endpoint warms up')],
  'connections.connectTimeoutMs': [
    connections('an endpoint that does not answer in time'),
    ['lib/http/pool.test.ts', 'all that wait hear at once'],
  ],
  'connections.maxConnections': [
    connections('one more than maxConnections is refused'),
    requests('more than may wait are told so'),
  ],
  'connections.maxPending': [requests('more than may wait are told so')],
  'connections.maxRequests': [['waypoint/routes.test.ts', 'more at once than is allowed']],
  'connections.maxRetries': [budget],
  'connections.maxRequestsPerConnection': [requests('connections are used again')],
  'connections.maxConcurrentStreams': [['lib/http/pool.test.ts', 'requests share an HTTP/2 connection']],
  'connections.tcpIdleTimeoutMs': [connections('a connection over which nothing moves')],
  'connections.httpIdleTimeoutMs': [requests('a connection that nobody uses')],
  'connections.maxConnectionDurationMs': [
    connections('a connection is not older than it may be'),
    requests('connections are used again'),
  ],
  'connections.tcpKeepAlive': [keepAlive],
  'connections.http2KeepAlive': [pings, requests('an upstream of HTTP/2 is asked')],
  'outliers.consecutive5xx': [outliers('the third failure in a row')],
  'outliers.consecutiveGatewayErrors': [outliers('what counts')],
  'outliers.splitLocalOrigin': [outliers('what counts')],
  'outliers.consecutiveLocalOriginFailures': [outliers('what counts')],
  'outliers.intervalMs': [outliers('an ejection ends at the first sweep')],
  'outliers.baseEjectionMs': [outliers('an ejection ends at the first sweep')],
  'outliers.maxEjectionMs': [ejections],
  'outliers.maxEjectionPercent': [outliers('how many may go')],
  'outliers.statuses': [outliers('outcomes:')],
  panicPercent: [balance('panic:'), outliers('in panic health is ignored')],
  'retryBudget.percent': [budget],
  'retryBudget.minConcurrency': [budget],
  'retryBudget.intervalMs': [outliers('a budget of retries may look at the last while')],
  'tls.mode': [kinds('TLS to the application:'), tls('TLS to the application:')],
  'tls.sni': [tls('whoever calls by whatever name')],
  'tls.subjectAltNames': [kinds('TLS to the application:')],
  'tls.trust': [kinds('TLS to the application:'), tls('TLS to the application:')],
  'tls.revocations': [kinds('a file that is renewed')],
  'tls.client': [kinds('TLS to the application:')],
  'tls.insecureSkipVerify': [tls('TLS to the application:')],
  'tunnel.method=CONNECT': [connections('a connection through a proxy')],
  'tunnel.method=POST': [connections('a connection through a proxy'), notDone],
  'tunnel.host': [connections('a connection through a proxy')],
  'tunnel.port': [connections('a connection through a proxy')],
  proxyProtocol: [connections('a PROXY header'), requests('a connection with a PROXY header')],
}

const texts = new Map<string, string>()
const textOf = (file: string): string => {
  const text = texts.get(file) ?? readFileSync(`${import.meta.dirname}/../${file}`, 'utf8')
  texts.set(file, text)
  return text
}
/** In quotes of any kind, perhaps behind the way that it is seen by. */
const hasTest = ([file, title]: Proof): boolean =>
  ["'", '`', '`${way}: '].some((quote) => textOf(file).includes(`${quote}${title}`))

const paths = [...new Set(pathsOf(destinationPolicy))]
const covering = (path: string) =>
  Object.keys(proofs).filter(
    (field) => path === field || ['.', '[', '='].some((end) => path.startsWith(`${field}${end}`)),
  )

t.test('every field of a policy has a test of its effect', async (t) => {
  t.ok(paths.length > 80, `${paths.length} fields`)
  t.same(
    paths.filter((path) => covering(path).length === 0),
    [],
  )
})

t.test('no test is named for a field that there is not', async (t) => {
  const used = new Set(paths.flatMap(covering))
  t.same(
    Object.keys(proofs).filter((field) => !used.has(field)),
    [],
  )
})

for (const [field, all] of Object.entries(proofs))
  t.test(`${field}: its tests are there`, async (t) => {
    for (const proof of all) t.ok(hasTest(proof), proof.join(': '))
  })
