/**
 * Run as a worker, away from the test runner, which looks at every promise and makes this four times as slow.
 *
 * Whatever the order in which objects come, change and go: what is served in the end is what a fresh computation over the
 * objects that are there gives, and whoever listened to the changes has the same.
 */
import fc from 'fast-check'
import { isMainThread, parentPort } from 'node:worker_threads'
import { isRecord } from '#base'
import { type Collection, type Custom, fixed, keyOf, Table } from '#kube'
import {
  type Inputs,
  liveKey,
  type Mesh,
  meshFrom,
  type MeshResource,
} from '../../../controller/collections/index.ts'
import { liveSettingsFrom } from '../../../controller/mesh-config.ts'
import { namespace, pod, service } from '../objects.ts'
import { settings } from './world.ts'

/** Objects of each kind: by key what it may look like. Few of each, so that they get in each other's way. */
const object = (kind: string, ns: string, name: string, rest: object) => ({
  kind,
  metadata: { name, namespace: ns },
  ...rest,
})
const in2 = ['shop', 'bank']
const use = { 'istio.io/use-waypoint': 'wp' }
const canary = { ...use, 'istio.io/use-waypoint-canary': 'new' }
const foreign = { 'istio.io/rev': 'other' }
const labelled = <T extends { metadata: object }>(row: T, labels: Record<string, string>): T => ({
  ...row,
  metadata: { ...row.metadata, labels },
})
const many = <T>(names: readonly string[], make: (ns: string, name: string) => readonly T[]) =>
  in2.flatMap((ns) => names.flatMap((name) => make(ns, name)))

const targets = [
  { kind: 'Service', name: 'a' },
  { group: 'networking.istio.io', kind: 'ServiceEntry', name: 's' },
  { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'wp' },
  { group: 'gateway.networking.k8s.io', kind: 'GatewayClass', name: 'istio-waypoint' },
]

export const variants: Record<keyof Inputs, readonly Custom[]> = {
  pods: many(['a', 'b'], (ns, name) => [
    pod(ns, name, { ip: '10.0.0.1', uid: '1' }),
    pod(ns, name, { ip: '10.0.0.2', uid: '2', labels: { app: 'a', tier: 'x' }, node: 'n2' }),
    pod(ns, name, { ip: '10.0.0.1', uid: '2', hbone: false, labels: { app: 'b' } }),
    pod(ns, name, { ip: '10.0.0.3', phase: 'Failed' }),
    { ...pod(ns, name), spec: 5 } as never,
    pod(ns, name, { ip: '10.0.0.4', labels: { app: 'a', ...use } }),
    pod(ns, name, { ip: '10.0.0.5', labels: { 'gateway.networking.k8s.io/gateway-name': 'wp' } }),
  ]),
  services: many(['a', 'b'], (ns, name) => [
    service(ns, name),
    service(ns, name, { selector: { app: 'a', tier: 'x' }, ports: [{ port: 1, targetPort: 'web' }] }),
    service(ns, name, { selector: undefined, clusterIPs: ['None'], trafficDistribution: 'PreferClose' }),
    service(ns, name, { type: 'ExternalName' }),
    service(ns, name, { ports: 'garbage' }),
    labelled(service(ns, name), use),
    labelled(service(ns, name), canary),
    labelled(service(ns, name), { 'istio.io/use-waypoint': 'none' }),
  ]),
  slices: many(['a', 'b'], (ns, name) =>
    ['a', 'b'].flatMap((of) => [
      slice(ns, name, of, [{ addresses: ['192.0.2.1'] }]),
      slice(ns, name, of, 'garbage' as never),
      slice(ns, name, of, [{ addresses: ['10.0.0.1'], targetRef: { kind: 'Pod', name: 'a', uid: '1' } }]),
      slice(ns, name, of, [
        { addresses: ['192.0.2.2', 'x'], conditions: { ready: false } },
        { addresses: ['192.0.2.1'] },
      ]),
    ]),
  ),
  namespaces: ['shop', 'bank', 'istio-system'].flatMap((name) => [
    namespace(name),
    namespace(name, { ...canary, 'istio.io/ingress-use-waypoint': 'true' }),
    namespace(name, { ...use, 'istio.io/use-waypoint-namespace': 'shop' }),
    namespace(name, { 'topology.istio.io/network': 'net1', mesh: 'on' }),
    {
      ...namespace(name),
      metadata: { name, annotations: { 'networking.istio.io/traffic-distribution': 'PreferSameNode' } },
    },
  ]),
  nodes: ['node-1', 'n2'].flatMap((name) => [
    { metadata: { name } },
    { metadata: { name, labels: { 'topology.kubernetes.io/zone': 'z1' } } },
    {
      metadata: {
        name,
        labels: { 'topology.kubernetes.io/region': 'r', 'topology.kubernetes.io/zone': 'z2' },
      },
    },
  ]),
  authorizationPolicies: [...in2, 'istio-system'].flatMap((ns) => [
    object('AuthorizationPolicy', ns, 'p', { spec: { rules: [{}] } }),
    object('AuthorizationPolicy', ns, 'p', {
      spec: { action: 'DENY', selector: { matchLabels: { app: 'a' } }, rules: [{}] },
    }),
    object('AuthorizationPolicy', ns, 'p', {
      spec: { selector: { matchLabels: { app: 'b' } }, rules: 'garbage' },
    }),
    object('AuthorizationPolicy', ns, 'p', { spec: { selector: 7 } }),
    ...targets.map((target) => object('AuthorizationPolicy', ns, 'q', { spec: { targetRefs: [target] } })),
    object('AuthorizationPolicy', ns, 'q', { spec: { targetRefs: targets } }),
    labelled(object('AuthorizationPolicy', ns, 'p', { spec: { rules: [{}] } }), foreign),
  ]),
  peerAuthentications: [...in2, 'istio-system'].flatMap((ns) => [
    object('PeerAuthentication', ns, 'm', { spec: { mtls: { mode: 'STRICT' } } }),
    object('PeerAuthentication', ns, 'm', { spec: { mtls: { mode: 'PERMISSIVE' } } }),
    labelled(object('PeerAuthentication', ns, 'm', { spec: { mtls: { mode: 'STRICT' } } }), foreign),
    object('PeerAuthentication', ns, 'm', {
      spec: {
        selector: { matchLabels: { app: 'a' } },
        mtls: { mode: 'STRICT' },
        portLevelMtls: { '80': { mode: 'DISABLE' } },
      },
    }),
  ]),
  serviceEntries: many(['s', 'u'], (ns, name) => [
    entry(ns, name, 1, { hosts: ['x.example.com', 'y.example.com'], resolution: 'DNS' }),
    entry(ns, name, 2, {
      hosts: ['x.example.com'],
      resolution: 'STATIC',
      endpoints: [{ address: '192.0.2.9' }],
      exportTo: ['.'],
    }),
    entry(ns, name, 3, {
      hosts: ['y.example.com'],
      resolution: 'STATIC',
      workloadSelector: { labels: { app: 'a' } },
    }),
    entry(ns, name, 4, {
      hosts: ['a.shop.svc.cluster.local'],
      resolution: 'NONE',
      addresses: ['192.0.2.0/24'],
    }),
    entry(ns, name, 5, { hosts: 'garbage' }),
    entry(ns, name, 6, { hosts: ['*.example.com'], resolution: 'DYNAMIC_DNS' }, use),
    entry(
      ns,
      name,
      7,
      { hosts: ['x.example.com'], resolution: 'DNS' },
      { ...use, 'istio.io/use-waypoint-namespace': 'bank' },
    ),
    entry(ns, name, 8, { hosts: ['x.example.com'], resolution: 'DNS' }, foreign),
  ]),
  workloadEntries: many(['w'], (ns, name) => [
    object('WorkloadEntry', ns, name, {
      spec: { address: '198.51.100.1', labels: { app: 'a' }, ports: { http: 81 } },
    }),
    object('WorkloadEntry', ns, name, {
      spec: { address: 'vm.example.com', labels: { app: 'b' }, weight: 2 },
    }),
    object('WorkloadEntry', ns, name, { spec: null }),
    labelled(object('WorkloadEntry', ns, name, { spec: { address: '198.51.100.2' } }), use),
    object('WorkloadEntry', ns, name, { spec: { address: '198.51.100.3', network: 'net1' } }),
  ]),
  gateways: many(['wp'], (ns, name) => [
    gateway(ns, name, 'Same'),
    gateway(ns, name, 'All', { 'istio.io/waypoint-for': 'all' }),
    gateway(ns, 'new', 'All'),
    gateway(ns, name, 'Same', {}, { 'ambient.istio.io/waypoint-inbound-binding': 'PROXY/15088' }),
    object('Gateway', ns, name, { spec: { gatewayClassName: 'istio-waypoint' } }),
    ...['peer', 'peer2'].map((peer) => remoteGateway(ns, peer)),
    { ...gateway(ns, 'peer', 'Same'), status: {} },
  ]),
  gatewayClasses: [
    { metadata: { name: 'istio-waypoint' } },
    { metadata: { name: 'istio-waypoint' }, spec: { controllerName: 'istio.io/mesh-controller' } },
    { metadata: { name: 'istio-waypoint', labels: { 'istio.io/waypoint-for': 'workload' } } },
  ],
  meshConfig: [],
}

type Words = Record<string, string>
function gateway(ns: string, name: string, from: string, labels: Words = {}, annotations: Words = {}) {
  const listeners = [
    { name: 'mesh', port: 15_008, protocol: 'HBONE', allowedRoutes: { namespaces: { from } } },
  ]
  return {
    metadata: { name, namespace: ns, labels, annotations },
    spec: { gatewayClassName: 'istio-waypoint', listeners },
    status: { addresses: [{ type: 'IPAddress', value: name === 'wp' ? '10.96.9.9' : '10.96.9.10' }] },
  }
}
/** Of several the first counts, and the next when it goes. */
function remoteGateway(ns: string, name: string) {
  const row = gateway(ns, name, 'Same', { 'topology.istio.io/network': 'net1' })
  const status = { addresses: [{ type: 'IPAddress', value: '203.0.113.1' }] }
  return { ...row, spec: { ...row.spec, gatewayClassName: 'istio-remote' }, status }
}
function slice(ns: string, name: string, of: string, endpoints: unknown[]) {
  const metadata = { name, namespace: ns, labels: { 'kubernetes.io/service-name': of } }
  return { metadata, addressType: 'IPv4', endpoints, ports: [{ name: 'http', port: 9090 }] }
}
function entry(ns: string, name: string, age: number, spec: object, labels: Words = {}) {
  const metadata = { name, namespace: ns, labels, creationTimestamp: `2026-01-0${(age % 3) + 1}T00:00:00Z` }
  return { metadata, spec: { ports: [{ number: 80, name: 'http' }], ...spec } }
}

const configs = [
  {},
  { discoverySelectors: [{ matchLabels: { mesh: 'on' } }] },
  { defaultServiceExportTo: ['.'] },
  { serviceEntryVisibility: { defaultVisibility: 'NAMESPACE' } },
  {
    serviceEntryVisibility: {
      policies: [
        { visibility: 'NONE', matchingRules: [{ namespaceSelector: { matchLabels: { mesh: 'on' } } }] },
      ],
    },
  },
].map(liveSettingsFrom)

/** A table with what may happen to it; its rows are as wild as what an API server may send. */
export const kinds = Object.keys(variants) as (keyof Inputs)[]
type Step = Readonly<{ kind: keyof Inputs; of: number; gone: boolean }>
const step: fc.Arbitrary<Step> = fc.constantFrom(...kinds).chain((kind) =>
  fc.record({
    kind: fc.constant(kind),
    of: fc.nat(Math.max(variants[kind].length, configs.length) - 1),
    gone: fc.boolean(),
  }),
)

function change({ kind, of, gone }: Step): readonly [string, unknown] {
  if (kind === 'meshConfig') return [liveKey, gone ? undefined : configs[of % configs.length]]
  const row = variants[kind][of % variants[kind].length] ?? { metadata: {} }
  return [keyOf(row), gone ? undefined : row]
}

type Rows = Pick<Collection<unknown>, 'name' | 'get' | 'keys' | 'subscribe'>
/** Everything that anybody is told, be it a client or the owner of an object. */
const toldOf = ({ policies, ...mesh }: Mesh): readonly Rows[] => [
  mesh.addresses,
  mesh.authorizations,
  policies.policyConditions,
  policies.peerConditions,
  mesh.entryConditions,
  mesh.machineConditions,
  mesh.waypointReferences,
  mesh.looseNamespaces,
]

/** One line per row; a resource is as its version. */
const lineOf = (key: string, row: unknown): string =>
  isResource(row) ? [row.name, row.version, row.keys.join()].join(' ') : `${key} ${JSON.stringify(row)}`
const isResource = (row: unknown): row is MeshResource => isRecord(row) && typeof row['version'] === 'string'
const linesOf = (collections: readonly Rows[]): string =>
  collections
    .map((one) => [one.name, ...one.keys().map((key) => lineOf(key, one.get(key)))].join('\n'))
    .join('\n\n')

/** Keeps what a listener would. */
function mirror(collection: Rows): Rows {
  const copy = new Table<unknown>(collection.name)
  collection.subscribe((changes) => {
    for (const { key, old } of changes)
      if (copy.get(key) !== old) throw new Error(`${key}: told of a change from what was not there`)
    copy.apply(changes)
  })
  return copy.collection
}

/** Plays a history batch by batch; undefined when all is well, otherwise what differs. */
function play(history: readonly (readonly Step[])[], allowWaypoints: boolean): string | undefined {
  const tables = Object.fromEntries(kinds.map((kind) => [kind, new Table<unknown>(kind)])) as Record<
    keyof Inputs,
    Table<unknown>
  >
  const inputs = Object.fromEntries(kinds.map((kind) => [kind, tables[kind].collection])) as unknown as Inputs
  const mesh = meshFrom(inputs, { ...settings, allowWaypoints })
  const heard = toldOf(mesh).map(mirror)
  for (const batch of history) {
    const changes = new Map<keyof Inputs, Map<string, unknown>>()
    for (const one of batch) {
      const [key, row] = change(one)
      changes.set(one.kind, (changes.get(one.kind) ?? new Map<string, unknown>()).set(key, row))
    }
    for (const [kind, rows] of changes)
      tables[kind].apply([...rows].map(([key, row]) => ({ key, old: tables[kind].get(key), row })))
  }
  const now = Object.fromEntries(
    kinds.map((kind) => [
      kind,
      fixed(kind, Object.fromEntries(tables[kind].keys().map((key) => [key, tables[kind].get(key)]))),
    ]),
  ) as unknown as Inputs
  const want = linesOf(toldOf(meshFrom(now, { ...settings, allowWaypoints })))
  const held = linesOf(toldOf(mesh))
  if (held !== want) return `held:\n${held}\nfresh:\n${want}`
  return linesOf(heard) === want ? undefined : `heard:\n${linesOf(heard)}\nfresh:\n${want}`
}

/** What went wrong in so many random histories, if anything did. */
async function playAll(histories: number): Promise<string | undefined> {
  const batch = fc.array(step, { minLength: 1, maxLength: 4 })
  const property = fc.asyncProperty(
    fc.array(batch, { maxLength: 8 }),
    fc.boolean(),
    async (history, allowWaypoints) => {
      const difference = play(history, allowWaypoints)
      if (difference !== undefined) throw new Error(difference)
      // What waits for a mesh to be there keeps all of it until it may run.
      await new Promise((done) => setImmediate(done))
    },
  )
  const { failed, counterexample, seed, errorInstance } = await fc.check(property, { numRuns: histories })
  return failed ? `seed ${seed}: ${JSON.stringify(counterexample)}\n${String(errorInstance)}` : undefined
}

if (!isMainThread)
  parentPort?.on('message', (histories: number) => {
    void playAll(histories).then((found) => parentPort?.postMessage(found ?? 'all equal'))
  })
