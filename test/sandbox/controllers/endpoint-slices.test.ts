import t from 'tap'
import type { EndpointSlice, Service } from '#kube'
import type { Action } from '../../../sandbox/controllers/actions.ts'
import { endpointSlicePlan } from '../../../sandbox/controllers/endpoint-slices.ts'
import type { SchedulablePod } from '../../../sandbox/controllers/objects.ts'
import { pod, ready, told } from './world.ts'

const service = (spec: Service['spec'] = {}): Service => ({
  metadata: { name: 'order', namespace: 'shop', uid: 'svc', labels: { app: 'order' } },
  spec: {
    selector: { app: 'order' },
    clusterIP: '10.96.0.50',
    ipFamilies: ['IPv4'],
    ports: [{ name: 'http', port: 80, targetPort: 'web', protocol: 'TCP' }],
    ...spec,
  },
})
const member = (name: string, ips: string[], o: Partial<SchedulablePod> = {}): SchedulablePod =>
  pod(name, {
    metadata: { name, namespace: 'shop', uid: name, labels: { app: 'order' }, ...o.metadata },
    spec: {
      nodeName: 'n1',
      containers: [{ name: 'a', ports: [{ name: 'web', containerPort: 8080 }] }],
      ...o.spec,
    },
    status: { phase: 'Running', podIPs: ips.map((ip) => ({ ip })), conditions: [ready()], ...o.status },
  })
const slicesIn = (actions: readonly Action[]): readonly EndpointSlice[] =>
  actions.flatMap((action) => (action.kind === 'create' ? [action.object] : []))
const only = (spec: Service['spec'], ...pods: SchedulablePod[]) =>
  slicesIn(endpointSlicePlan(service(spec), pods, []))

t.test('a slice names the pods, their state, node and port number', async (t) => {
  const [slice, ...more] = only({}, member('b', ['10.244.1.6']), member('a', ['10.244.1.5']))
  t.same(more, [])
  t.match(slice, {
    metadata: {
      namespace: 'shop',
      labels: {
        app: 'order',
        'kubernetes.io/service-name': 'order',
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
      ownerReferences: [{ kind: 'Service', uid: 'svc', controller: true }],
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: [
      {
        addresses: ['10.244.1.5'],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: 'n1',
        targetRef: { kind: 'Pod', namespace: 'shop', name: 'a', uid: 'a' },
      },
      { addresses: ['10.244.1.6'] },
    ],
  })
})

t.test('each family of a dual-stack Service has its own slice', async (t) => {
  const slices = only(
    { ipFamilies: ['IPv4', 'IPv6'] },
    member('a', ['10.244.1.5', 'fd00:10:244:1::5']),
    member('b', ['10.244.1.6']),
  )
  t.same(
    slices.map(({ addressType, endpoints }) => [
      addressType,
      (endpoints ?? []).flatMap(({ addresses = [] }) => addresses),
    ]),
    [
      ['IPv4', ['10.244.1.5', '10.244.1.6']],
      ['IPv6', ['fd00:10:244:1::5']],
    ],
  )
})

const deleted = { deletionTimestamp: '2026-01-01T00:00:00Z' }
const states: [string, SchedulablePod, Service['spec'], object | undefined][] = [
  ['ready', member('a', ['10.0.0.1']), {}, { ready: true, serving: true, terminating: false }],
  [
    'not ready',
    member('a', ['10.0.0.1'], { status: { conditions: [ready(false)] } }),
    {},
    { ready: false, serving: false, terminating: false },
  ],
  [
    'going away, still answering',
    member('a', ['10.0.0.1'], { metadata: { ...deleted, name: 'a', labels: { app: 'order' } } }),
    {},
    { ready: false, serving: true, terminating: true },
  ],
  [
    'not ready, but published all the same',
    member('a', ['10.0.0.1'], { status: { conditions: [ready(false)] } }),
    { publishNotReadyAddresses: true },
    { ready: true, serving: false, terminating: false },
  ],
  ['finished', member('a', ['10.0.0.1'], { status: { phase: 'Failed' } }), {}, undefined],
  ['without an address yet', member('a', []), {}, undefined],
  [
    'of another app',
    member('a', ['10.0.0.1'], { metadata: { name: 'a', labels: { app: 'x' } } }),
    {},
    undefined,
  ],
]
for (const [name, one, spec, want] of states)
  t.test(`a pod ${name}`, async (t) => {
    t.same(only(spec, one)[0]?.endpoints?.[0]?.conditions, want)
  })

t.test(
  'a named port that resolves differently splits the slices; a pod without it serves no port',
  async (t) => {
    const other = member('b', ['10.0.0.2'], {
      spec: { containers: [{ name: 'a', ports: [{ name: 'web', containerPort: 9090 }] }] },
    })
    const none = member('c', ['10.0.0.3'], { spec: { containers: [{ name: 'a' }] } })
    const slices = only({}, member('a', ['10.0.0.1']), other, none)
    t.same(
      slices.map(({ ports, endpoints }) => [
        ports?.map(({ port }) => port),
        endpoints?.flatMap(({ addresses }) => addresses),
      ]),
      [
        [[8080], ['10.0.0.1']],
        [[9090], ['10.0.0.2']],
        [[], ['10.0.0.3']],
      ],
    )
    t.equal(new Set(slices.map(({ metadata }) => metadata.name)).size, 3)
  },
)

t.test('headless: hostnames of pods that name the Service as their subdomain', async (t) => {
  const [slice] = only(
    { clusterIP: 'None' },
    member('a', ['10.0.0.1'], { spec: { hostname: 'db-0', subdomain: 'order' } }),
    member('b', ['10.0.0.2'], { spec: { hostname: 'db-1', subdomain: 'other' } }),
  )
  t.same(
    slice?.endpoints?.map(({ hostname }) => hostname),
    ['db-0', undefined],
  )
  t.equal(slice?.metadata.labels?.['service.kubernetes.io/headless'], '')
})

t.test(
  'a Service without pods has one empty slice; one without selector has none, and keeps those of others',
  async (t) => {
    t.match(only({}), [{ endpoints: [] }])
    const foreign: EndpointSlice = {
      metadata: { name: 'mine', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'order' } },
    }
    t.same(endpointSlicePlan(service({ selector: {} }), [member('a', ['10.0.0.1'])], [foreign]), [])
    t.same(only({ type: 'ExternalName', externalName: 'x' }), [])
  },
)

t.test(
  'what is there and right is not written again; what changed is patched; what is left over goes',
  async (t) => {
    const pods = [member('a', ['10.0.0.1'])]
    const existing = slicesIn(endpointSlicePlan(service(), pods, []))
    t.same(endpointSlicePlan(service(), pods, existing), [])
    const changed = told(endpointSlicePlan(service(), [member('a', ['10.0.0.9'])], existing))
    t.match(changed, [/^patch EndpointSlice order-\w+ .*10\.0\.0\.9/])
    const port = { ports: [{ name: 'http', port: 80, targetPort: 81 }] }
    t.match(told(endpointSlicePlan(service(port), pods, existing)), [
      'create EndpointSlice',
      /^delete EndpointSlice/,
    ])
    t.match(told(endpointSlicePlan(service({ selector: {} }), pods, existing)), [/^delete EndpointSlice/])
  },
)

t.test('more than a hundred endpoints take another slice', async (t) => {
  const pods = Array.from({ length: 201 }, (_, i) => member(`p${i}`, [`10.0.${i >> 8}.${i & 255}`]))
  t.same(
    only({}, ...pods).map(({ endpoints }) => endpoints?.length),
    [100, 100, 1],
  )
})
