import t from 'tap'
import { z } from 'zod'
import { parseSpiffeId } from '#identity'
import { security, workload as wire } from '#wire'
import { gateway, policyResource, serviceResource, workloadResource } from '../../fakes/mesh.ts'
import { startAdmin } from './admin-kit.ts'

/**
 * What `istioctl ztunnel-config` decodes, with its types: a key of another type makes its command fail, one that it
 * does not know is skipped. Strict: a key that is not here is not in the dump either.
 */
const text = z.string()
const some = text.min(1)
const port = z.int().min(0).max(65_535)
/** A map of Go with numbers for keys. */
const ports = z.record(z.string().regex(/^\d{1,5}$/), port)
const cidr = some.regex(/^[\da-f.:]+\/\d{1,3}$/)
const to = z.strictObject({ destination: some, hboneMtlsPort: port })
const locality = z.strictObject({ region: text, zone: text, subzone: text })
const workload = z.strictObject({
  uid: some,
  workloadIps: z.array(z.union([z.ipv4(), z.ipv6()])),
  waypoint: to.optional(),
  networkGateway: to.optional(),
  protocol: z.enum(['TCP', 'HBONE']),
  networkMode: z.enum(['Standard', 'HostNetwork']),
  name: text,
  namespace: text,
  trustDomain: some.optional(),
  serviceAccount: some.optional(),
  network: some.optional(),
  workloadName: some.optional(),
  workloadType: z.enum(['deployment', 'cronjob', 'pod', 'job']),
  canonicalName: some.optional(),
  canonicalRevision: some.optional(),
  hostname: some.optional(),
  node: some.optional(),
  nativeTunnel: z.literal(true).optional(),
  applicationTunnel: z
    .strictObject({ protocol: z.enum(['NONE', 'PROXY']), port: port.optional() })
    .optional(),
  authorizationPolicies: z.array(some).min(1).optional(),
  status: z.enum(['Healthy', 'Unhealthy']),
  clusterId: some,
  locality: locality.optional(),
  services: z
    .array(some.regex(/^[^/]+\/[^/]+$/))
    .min(1)
    .optional(),
  capacity: z.int().min(0),
})
const endpoint = z.strictObject({
  workloadUid: some,
  service: some,
  port: ports,
  status: z.enum(['Healthy', 'Unhealthy']),
})
const scope = z.enum(['Region', 'Zone', 'Subzone', 'Node', 'Cluster', 'Network'])
const service = z.strictObject({
  name: text,
  namespace: text,
  hostname: some,
  vips: z.array(some.regex(/^[^/]*\/[\da-f.:]+$/)),
  cidrVips: z
    .array(z.strictObject({ network: text, cidr }))
    .min(1)
    .optional(),
  ports,
  endpoints: z.record(some, endpoint),
  subjectAltNames: z.array(some).min(1).optional(),
  waypoint: to.optional(),
  weightedWaypoints: z
    .array(z.strictObject({ destination: to, weight: z.int() }))
    .min(1)
    .optional(),
  loadBalancer: z
    .strictObject({
      routingPreferences: z.array(scope),
      mode: z.enum(['Standard', 'Strict', 'Failover', 'Passthrough']),
      healthPolicy: z.enum(['OnlyHealthy', 'AllowAll']),
    })
    .optional(),
  ipFamilies: z.enum(['IPv4', 'IPv6', 'Dual']).optional(),
  canonical: z.literal(true).optional(),
  visibility: z.enum(['Public', 'Namespace']),
})
const string = z.union([
  z.strictObject({ Exact: text }),
  z.strictObject({ Prefix: text }),
  z.strictObject({ Suffix: text }),
  z.strictObject({ Presence: z.array(z.never()) }),
])
const account = z.strictObject({ namespace: some, serviceAccount: some })
const optional = <T extends z.ZodType>(item: T) => z.array(item).min(1).optional()
const match = z.strictObject({
  namespaces: optional(string),
  notNamespaces: optional(string),
  principals: optional(string),
  notPrincipals: optional(string),
  serviceAccounts: optional(account),
  notServiceAccounts: optional(account),
  sourceIps: optional(cidr),
  notSourceIps: optional(cidr),
  destinationIps: optional(cidr),
  notDestinationIps: optional(cidr),
  destinationPorts: optional(port),
  notDestinationPorts: optional(port),
})
const policy = z.strictObject({
  name: some,
  namespace: text,
  scope: z.enum(['Global', 'Namespace', 'WorkloadSelector']),
  action: z.enum(['Allow', 'Deny']),
  rules: z.array(
    z.array(z.array(z.union([match, z.strictObject({ unreadable: z.enum(['always', 'never']) })]))),
  ),
  dryRun: z.boolean(),
  problems: z.array(some).min(1).optional(),
})
const second = some.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
const pem = z.strictObject({
  pem: z.base64(),
  serialNumber: some.regex(/^\d+$/),
  validFrom: second,
  expirationTime: second,
})
const certificate = z.strictObject({
  identity: some.regex(/^spiffe:\/\//),
  state: some.regex(/^(Initializing|Available|Unavailable: .+)$/),
  certChain: z.array(pem),
  rootCerts: z.array(pem),
})
const address = some.regex(/^([\d.]+|\[[\da-f:]+\]):\d+$/)
const connection = z.strictObject({
  src: address,
  originalDst: some.nullable(),
  actualDst: address,
  protocol: z.enum(['TCP', 'HBONE', 'DOUBLEHBONE']),
})
const podState = z.strictObject({
  state: z.enum(['Pending', 'Up']),
  info: z.strictObject({ name: some, namespace: some, trustDomain: some.optional(), serviceAccount: some }),
  connections: z.strictObject({ inbound: z.array(connection), outbound: z.array(connection) }),
})
const dumpSchema = z.strictObject({
  workloads: z.array(workload),
  services: z.array(service),
  policies: z.array(policy),
  stagedServices: z.record(some, z.record(some, endpoint)),
  staticConfig: z.strictObject({
    workloads: z.array(workload),
    policies: z.array(policy),
    services: z.array(service),
  }),
  version: z.strictObject({
    version: some,
    gitRevision: some,
    rustVersion: some,
    buildProfile: some,
    buildStatus: some,
    istioVersion: some,
    cryptoProvider: some,
  }),
  config: z.looseObject({ nodeName: some }),
  certificates: z.array(certificate),
  workloadState: z.record(some, podState),
})

const web = 'demo/web.demo.svc.cluster.local'
const bytes = (...parts: number[]) => Buffer.from(parts)
const everything = {
  server: workloadResource({
    name: 'server',
    node: 'n1',
    addresses: ['10.0.0.2', 'fd00::2'],
    services: { [web]: { 80: 8080 }, 'demo/late.demo.svc.cluster.local': { 81: 0 } },
    waypoint: 'demo/gate.demo.svc.cluster.local',
    networkGateway: gateway('10.9.9.9'),
    network: 'east',
    hostname: 'server.example',
    nativeTunnel: true,
    applicationTunnel: { protocol: wire.ApplicationTunnel_Protocol.PROXY, port: 15088 },
    authorizationPolicies: ['demo/p'],
    status: wire.WorkloadStatus.UNHEALTHY,
    locality: { region: 'r', zone: 'z', subzone: '' },
    capacity: 7,
  }),
  bare: workloadResource({
    name: 'bare',
    workloadName: '',
    canonicalName: '',
    canonicalRevision: '',
    tunnelProtocol: 0,
  }),
  web: serviceResource({
    name: 'web',
    vips: ['10.96.0.1', 'fd96::1', '10.97.0.0/16'],
    ports: { 80: 8080 },
    waypoint: '10.0.0.9',
    network: 'east',
    subjectAltNames: ['spiffe://cluster.local/ns/demo/sa/web'],
    canonical: true,
    ipFamilies: wire.IPFamilies.DUAL,
    visibility: 1,
    loadBalancing: { routingPreference: [1, 6], mode: 2, healthPolicy: 1 },
    weightedWaypoints: [{ destination: gateway('demo/gate.demo.svc.cluster.local'), weight: 30 }],
  }),
}
const exact = (value: string): security.StringMatch => ({ matchType: { $case: 'exact', value } })
const kinds: security.StringMatch[] = [
  exact('a'),
  { matchType: { $case: 'prefix', value: 'b' } },
  { matchType: { $case: 'suffix', value: 'c' } },
  { matchType: { $case: 'presence', value: {} } },
]
const fullMatch: security.Match = {
  namespaces: kinds,
  notNamespaces: [exact('d')],
  principals: [exact('td/ns/a/sa/b')],
  notPrincipals: [exact('td/ns/a/sa/c')],
  serviceAccounts: [{ namespace: 'a', serviceAccount: 'b' }],
  notServiceAccounts: [{ namespace: 'a', serviceAccount: 'c' }],
  sourceIps: [{ address: bytes(10, 0, 0, 0), length: 8 }],
  notSourceIps: [{ address: bytes(...Array(16).fill(0)), length: 128 }],
  destinationIps: [{ address: bytes(10, 0, 0, 1), length: 32 }],
  notDestinationIps: [{ address: bytes(0, 0, 0, 0), length: 0 }],
  destinationPorts: [80, 65_535],
  notDestinationPorts: [1],
  extensions: [],
}
const policyOf = (name: string, part: Partial<security.Authorization>) => {
  const value: security.Authorization = {
    name,
    namespace: 'demo',
    scope: 2,
    action: 1,
    rules: [{ clauses: [{ matches: [fullMatch] }, { matches: [] }] }, { clauses: [] }],
    dryRun: false,
    extensions: [],
    ...part,
  }
  return { [`demo/${name}`]: { bytes: security.Authorization.encode(value).finish() } }
}
const spoilt = { ...fullMatch, destinationPorts: [70_000] }

async function full(test: Parameters<typeof startAdmin>[0]) {
  const admin = await startAdmin(test)
  admin.addresses(...Object.values(everything))
  admin.policies(
    policyOf('p', {}),
    policyOf('trial', { dryRun: true, scope: 0 }),
    policyOf('bad', { rules: [{ clauses: [{ matches: [spoilt] }] }] }),
    policyResource({ name: 'none' }),
  )
  const id = (sa: string) => parseSpiffeId(`spiffe://cluster.local/ns/demo/sa/${sa}`)
  const [waiting, failing] = [id('waiting'), id('failing')]
  if (!waiting || !failing) throw new Error('no id')
  admin.certificates.push(
    { id: waiting, state: 'initializing' },
    { id: failing, state: 'unavailable', error: 'no CA' },
  )
  admin.pods.push(
    { pod: { uid: 'u1', name: 'server', namespace: 'demo', serviceAccount: 'server' }, state: 'Up' },
    { pod: { uid: 'u2', name: 'new', namespace: 'demo', serviceAccount: 'new' }, state: 'Pending' },
  )
  const inbound = { src: '10.0.0.9:1000', originalDst: null, actualDst: '10.0.0.2:8080', protocol: 'HBONE' }
  const outbound = {
    src: '[fd00::2]:1',
    originalDst: web,
    actualDst: '10.9.9.9:15008',
    protocol: 'DOUBLEHBONE',
  }
  admin.dumps.push(
    { u1: { inbound: [inbound], outbound: [outbound] } },
    { u1: { inbound: [{ ...inbound, protocol: 'TCP', originalDst: '10.0.0.2:8080' }], outbound: [] } },
  )
  return admin
}

t.test('every key and type of a full dump is what istioctl decodes', async (t) => {
  const { call } = await full(t)
  const { body } = await call('/config_dump')
  const { error } = dumpSchema.safeParse(JSON.parse(body))
  t.equal(error && z.prettifyError(error), undefined)
  t.ok(body.startsWith('{\n  "workloads"'), 'and it is pretty')
})

t.test('an empty ztunnel has an empty dump', async (t) => {
  const { call } = await startAdmin(t)
  const { error, data } = dumpSchema.safeParse(JSON.parse((await call('/config_dump')).body))
  t.equal(error && z.prettifyError(error), undefined)
  t.same([data?.workloads, data?.services, data?.policies, data?.workloadState], [[], [], [], {}])
})

t.test('the values are those that were received', async (t) => {
  const { call } = await full(t)
  const dump = JSON.parse((await call('/config_dump')).body)
  t.match(dump.workloads[0], {
    uid: 'Kubernetes//Pod/demo/server',
    workloadIps: ['10.0.0.2', 'fd00::2'],
    waypoint: { destination: 'demo/gate.demo.svc.cluster.local', hboneMtlsPort: 15008 },
    networkGateway: { destination: '/10.9.9.9' },
    protocol: 'HBONE',
    applicationTunnel: { protocol: 'PROXY', port: 15088 },
    authorizationPolicies: ['demo/p'],
    status: 'Unhealthy',
    services: [web, 'demo/late.demo.svc.cluster.local'],
    capacity: 7,
  })
  t.match(dump.services, [
    {
      vips: ['east/10.96.0.1', 'east/fd96::1'],
      cidrVips: [{ network: 'east', cidr: '10.97.0.0/16' }],
      ports: { 80: 8080 },
      endpoints: { 'Kubernetes//Pod/demo/server': { port: { 80: 8080 }, status: 'Unhealthy' } },
      loadBalancer: { routingPreferences: ['Region', 'Network'], mode: 'Failover', healthPolicy: 'AllowAll' },
      weightedWaypoints: [{ destination: { destination: 'demo/gate.demo.svc.cluster.local' }, weight: 30 }],
      ipFamilies: 'Dual',
      visibility: 'Namespace',
    },
  ])
  t.strictSame(dump.stagedServices, {
    'demo/late.demo.svc.cluster.local': {
      'Kubernetes//Pod/demo/server': {
        workloadUid: 'Kubernetes//Pod/demo/server',
        service: 'demo/late.demo.svc.cluster.local',
        port: { 81: 0 },
        status: 'Unhealthy',
      },
    },
  })
  t.match(dump.policies[0].rules[0][0][0].namespaces, [
    { Exact: 'a' },
    { Prefix: 'b' },
    { Suffix: 'c' },
    { Presence: [] },
  ])
  t.strictSame(dump.policies[0].rules.slice(1), [[]])
  t.match(dump.policies[1], { name: 'trial', scope: 'Global', dryRun: true })
  t.match(dump.policies[2], { rules: [[[{ unreadable: 'always' }]]], problems: [/not a port: 70000/] })
  t.strictSame(
    dump.certificates.map(({ identity, state }: { identity: string; state: string }) => [
      identity.split('/').at(-1),
      state,
    ]),
    [
      ['failing', 'Unavailable: no CA'],
      ['server', 'Available'],
      ['waiting', 'Initializing'],
    ],
    'sorted by identity',
  )
  t.match(dump.workloadState.u1, {
    state: 'Up',
    info: { name: 'server', namespace: 'demo', trustDomain: 'cluster.local', serviceAccount: 'server' },
    connections: {
      inbound: [{ protocol: 'HBONE' }, { protocol: 'TCP' }],
      outbound: [{ protocol: 'DOUBLEHBONE' }],
    },
  })
  t.match(dump.workloadState.u2, { state: 'Pending', connections: { inbound: [], outbound: [] } })
})

t.test('a dump holds no key, in no form', async (t) => {
  const { call, certificate } = await full(t)
  const { body } = await call('/config_dump')
  const der = Buffer.from(certificate.privateKeyPem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const forms = [
    certificate.privateKeyPem,
    der.toString('base64'),
    der.toString('hex'),
    'PRIVATE KEY',
    der.toString('base64url'),
  ]
  for (const form of forms) {
    t.notOk(body.includes(form.slice(0, 60)))
    t.notOk(body.includes(Buffer.from(form).toString('base64').slice(0, 60)))
  }
})

t.test('who asks while a dump is made gets that one', async (t) => {
  let collected = 0
  const gate = Promise.withResolvers<void>()
  const admin = await startAdmin(t, async () => {
    collected++
    await gate.promise
    return []
  })
  const never = new AbortController().signal
  const ask = async () =>
    admin.routes['/config_dump']?.({ method: 'GET', query: new URLSearchParams(), signal: never })
  const asked = Array.from({ length: 20 }, ask)
  gate.resolve()
  const [first, ...others] = await Promise.all(asked)
  t.ok(others.every((answer) => answer === first))
  t.equal(collected, 1)
  await ask()
  t.equal(collected, 2, 'the next one is fresh')
})
