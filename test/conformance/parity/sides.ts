import type { Test } from 'tap'
import type { DestinationPolicy, HttpRule } from '#routes'
import { waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl } from '#wire'
import { serviceResource, workloadResource } from '../../fakes/mesh.ts'
import { until } from '../../fakes/until.ts'
import { startEnvoy } from '../../helpers/envoy.ts'
import { policyOf, scene } from '../../waypoint/kit.ts'
import { envoyCluster, envoyListener, logFields } from './envoy-routes.ts'
import { type Origin, startOrigin } from './origin.ts'

type LogLine = Readonly<Record<string, unknown>>

/** A proxy with the rules, and the origin behind it. */
export type Side = Readonly<{
  name: 'ours' | 'envoy'
  port: number
  origin: Origin
  /** The first line of the access log from the `from`-th on that is of the case; a request that was not read has no path. */
  line(from: number, name: string): Promise<LogLine>
  logged(): number
}>

const serviceOf = (name: string) => `demo/${name}.demo.svc.cluster.local`
export const to = (name: string) => ({ kind: 'service', service: serviceOf(name), port: 80 }) as const

/** What rules may name: `ports` of 127.0.0.1, by the origin. */
const services: Readonly<
  Record<
    string,
    Readonly<{ ports: (origin: Origin) => readonly number[]; policy: Partial<DestinationPolicy> }>
  >
> = {
  web: { ports: ({ port }) => [port], policy: { http: 'http1' } },
  h2: { ports: ({ h2Port }) => [h2Port], policy: { http: 'http2' } },
  dead: { ports: ({ deadPort }) => [deadPort], policy: { http: 'http1' } },
  empty: { ports: () => [], policy: { http: 'http1' } },
  /** No request comes over a connection that has had another. */
  fresh: {
    ports: ({ port }) => [port],
    policy: { http: 'http1', connections: { ...policyOf({}).connections, maxRequestsPerConnection: 1 } },
  },
  noretry: {
    ports: ({ port }) => [port],
    policy: {
      http: 'http1',
      connections: { ...policyOf({}).connections, maxRequestsPerConnection: 1, maxRetries: 0 },
    },
  },
  oneretry: {
    ports: ({ port }) => [port],
    policy: {
      http: 'http1',
      connections: { ...policyOf({}).connections, maxRequestsPerConnection: 1, maxRetries: 1 },
    },
  },
  narrow: {
    ports: ({ port }) => [port],
    policy: { http: 'http1', connections: { ...policyOf({}).connections, maxConnections: 1, maxPending: 1 } },
  },
}
const policies = Object.entries(services).map(([name, { policy }]) =>
  policyOf({ ...policy, destination: to(name) }),
)

async function ours(t: Test, rules: readonly HttpRule[]): Promise<Side> {
  const origin = await startOrigin(t)
  const s = await scene(t, {}, { ACCESS_LOG_FORMAT: '' })
  for (const [name, { ports }] of Object.entries(services)) {
    const workloads = ports(origin).map((port, n) =>
      workloadResource({
        name: `${name}-${n}`,
        node: 'n2',
        addresses: ['127.0.0.1'],
        tunnelProtocol: 0,
        services: { [serviceOf(name)]: { 80: port } },
      }),
    )
    const vip = name === 'web' ? { vips: ['10.96.0.10'], waypoint: '127.0.0.1' } : {}
    const service = serviceResource({ name, ports: { 80: 80 }, ...vip })
    await s.running.push(addressTypeUrl, Object.assign({}, service, ...workloads))
  }
  await s.route({ protocol: 'http', http: rules }, policies)
  const log = { format: { kind: 'json', fields: logFields }, omitsEmpty: false }
  const told = { version: 1, logs: [log], metrics: {}, services: {} }
  await s.running.push(waypointTelemetryTypeUrl, {
    'waypoint:demo/waypoint': { bytes: Buffer.from(JSON.stringify(told)) },
  })
  const lines = () => s.running.lines.filter((line) => 'response_code' in line) as readonly LogLine[]
  return { name: 'ours', port: await s.front(), origin, ...logOf(lines) }
}

async function envoys(t: Test, binary: string, rules: readonly HttpRule[]): Promise<Side> {
  const origin = await startOrigin(t)
  const envoy = await startEnvoy(binary, (folder) => ({
    listeners: [envoyListener('http', folder.log('access'), rules)],
    clusters: Object.entries(services).map(([name, { ports }], i) =>
      envoyCluster(name, ports(origin), policies[i] ?? policyOf({})),
    ),
  }))
  t.teardown(() => envoy[Symbol.asyncDispose]())
  return { name: 'envoy', port: envoy.port('http'), origin, ...logOf(() => envoy.entries('access')) }
}

/** Other cases' requests may end late. */
const isOfAnother = (path: unknown, name: string): boolean => {
  const [, first] = typeof path === 'string' ? path.split(/[/?#]/) : []
  return first !== undefined && first !== name && others.has(first)
}
const others = new Set(['plain', 'held', 'overflow', 'client-leaves', 'client-leaves-early', 'retry-held'])

const logOf = (lines: () => readonly LogLine[]): Pick<Side, 'line' | 'logged'> => ({
  logged: () => lines().length,
  line: async (from, name) => {
    const find = () =>
      lines()
        .slice(from)
        .find(({ path }) => !isOfAnother(path, name))
    await until(() => find() !== undefined, `a line of ${name} in the access log`)
    return find() ?? {}
  },
})

/** Both with the same rules. */
export const sides = async (
  t: Test,
  binary: string,
  rules: readonly HttpRule[],
): Promise<readonly [Side, Side]> => Promise.all([ours(t, rules), envoys(t, binary, rules)])
