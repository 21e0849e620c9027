import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import type { Custom } from '#kube'
import { readGateway } from '../../../controller/collections/index.ts'
import { type Child, childrenOf, servicePorts } from '../../../controller/gateways/index.ts'
import { builtIn, gatewayOf, plain, renderOptions, waypoint } from './gateway-kit.ts'

const waypointClass = builtIn('istio-waypoint')
const render = (object: Custom, options = renderOptions): readonly Child[] =>
  childrenOf(gatewayOf(object), waypointClass, options)
const [account, deployment, service] = [0, 1, 2]

t.test('what istioctl asks for becomes exactly these objects', async (t) => {
  const file = readFileSync(new URL('waypoint.golden.yaml', import.meta.url), 'utf8')
  t.strictSame(plain(render(waypoint())), parse(file))
})

/** Gateway → path of what is looked at → value; undefined: not there. */
const rows: readonly (readonly [string, Custom, number, readonly string[], unknown])[] = [
  [
    'name-override names the Deployment',
    waypoint({ annotations: { 'gateway.istio.io/name-override': 'other' } }),
    deployment,
    ['metadata', 'name'],
    'other',
  ],
  [
    'name-override names the account too',
    waypoint({ annotations: { 'gateway.istio.io/name-override': 'other' } }),
    account,
    ['metadata', 'name'],
    'other',
  ],
  [
    'the account has a name of its own',
    waypoint({ annotations: { 'gateway.istio.io/service-account': 'sa' } }),
    account,
    ['metadata', 'name'],
    'sa',
  ],
  [
    'and the pods use it',
    waypoint({ annotations: { 'gateway.istio.io/service-account': 'sa' } }),
    deployment,
    ['spec', 'template', 'spec', 'serviceAccountName'],
    'sa',
  ],
  [
    'the selector is the Gateway’s name, whatever the Deployment is called',
    waypoint({ annotations: { 'gateway.istio.io/name-override': 'other' } }),
    deployment,
    ['spec', 'selector', 'matchLabels'],
    { 'gateway.networking.k8s.io/gateway-name': 'waypoint' },
  ],
  [
    'names are no annotations of the children',
    waypoint({ annotations: { 'gateway.istio.io/name-override': 'other', mine: 'x' } }),
    deployment,
    ['metadata', 'annotations'],
    { mine: 'x' },
  ],
  [
    'the type of the Service',
    waypoint({ annotations: { 'networking.istio.io/service-type': 'NodePort' } }),
    service,
    ['spec', 'type'],
    'NodePort',
  ],
  [
    'a type that does not exist',
    waypoint({ annotations: { 'networking.istio.io/service-type': 'Best' } }),
    service,
    ['spec', 'type'],
    'ClusterIP',
  ],
  [
    'the user’s traffic distribution wins',
    waypoint({ annotations: { 'networking.istio.io/traffic-distribution': 'Any' } }),
    service,
    ['metadata', 'annotations', 'networking.istio.io/traffic-distribution'],
    'Any',
  ],
  [
    'own labels are copied',
    waypoint({ labels: { 'istio.io/waypoint-for': 'all' } }),
    service,
    ['metadata', 'labels', 'istio.io/waypoint-for'],
    'all',
  ],
  [
    'tracks of GitOps tools are not',
    waypoint({
      labels: { 'app.kubernetes.io/instance': 'argo' },
      annotations: { 'argocd.argoproj.io/tracking-id': 'x' },
    }),
    service,
    ['metadata', 'labels', 'app.kubernetes.io/instance'],
    undefined,
  ],
  [
    'nor in annotations',
    waypoint({ annotations: { 'argocd.argoproj.io/tracking-id': 'x' } }),
    deployment,
    ['metadata', 'annotations'],
    {},
  ],
  [
    'infrastructure replaces the copy',
    waypoint({ labels: { a: '1' }, spec: { infrastructure: { labels: { b: '2' } } } }),
    account,
    ['metadata', 'labels', 'a'],
    undefined,
  ],
  [
    'with its own words',
    waypoint({ labels: { a: '1' }, spec: { infrastructure: { labels: { b: '2' } } } }),
    deployment,
    ['spec', 'template', 'metadata', 'labels', 'b'],
    '2',
  ],
  [
    'nobody can take the labels that say whose child it is',
    waypoint({ labels: { 'gateway.istio.io/managed': 'me', 'gateway.networking.k8s.io/gateway-name': 'x' } }),
    service,
    ['metadata', 'labels', 'gateway.istio.io/managed'],
    'istio.io-mesh-controller',
  ],
  [
    'nor enrol the waypoint’s own pods',
    waypoint({ labels: { 'istio.io/dataplane-mode': 'ambient' } }),
    deployment,
    ['spec', 'template', 'metadata', 'labels', 'istio.io/dataplane-mode'],
    'none',
  ],
]
t.test('what users may change, and what not', async (t) => {
  for (const [title, object, index, path, want] of rows) {
    const found = path.reduce<unknown>((at, part) => Reflect.get(Object(at), part), render(object)[index])
    t.strictSame(found, want, title)
  }
})

t.test(
  'nothing of the Gateway is copied where that is switched off; what it asks for is there',
  async (t) => {
    const words = { mine: 'x' }
    const own = waypoint({ labels: words, annotations: words })
    const asked = waypoint({ labels: words, spec: { infrastructure: { labels: { asked: 'y' } } } })
    for (const { metadata } of render(own, { ...renderOptions, copiesWords: false }))
      t.strictSame([metadata.labels['mine'], metadata.annotations['mine']], [undefined, undefined])
    for (const { metadata } of render(asked, { ...renderOptions, copiesWords: false }))
      t.match(metadata.labels, { asked: 'y' })
  },
)

t.test('names that Services and labels cannot have are shortened, and stay different', async (t) => {
  const namesOf = (name: string) => {
    const [, deployment, service] = render(waypoint({ name }))
    t.equal(deployment?.metadata.name, service?.metadata.name)
    return [
      service?.metadata.name ?? '',
      service?.metadata.labels['gateway.networking.k8s.io/gateway-name'] ?? '',
    ]
  }
  t.strictSame(namesOf('waypoint'), ['waypoint', 'waypoint'])
  t.match(namesOf('a.b'), [/^a-b-[0-9a-f]{8}$/, 'a.b'])
  t.match(namesOf('1st'), [/^gateway-1st-[0-9a-f]{8}$/, '1st'])
  t.not(namesOf('a.b')[0], namesOf('a-b')[0])
  const long = ['x', 'y'].map((end) => namesOf(`${'waypoint.'.repeat(28)}${end}`))
  for (const [name = '', label = ''] of long) t.ok(name.length <= 63 && label.length <= 63)
  t.not(long[0]?.[0], long[1]?.[0], 'what is cut off counts')
})

t.test('the selector of a Deployment that an older Istio made is kept: it cannot be changed', async (t) => {
  const live = {
    metadata: { name: 'waypoint', namespace: 'shop' },
    spec: { selector: { matchLabels: { 'istio.io/gateway-name': 'waypoint' } } },
  }
  const [, own, service] = childrenOf(gatewayOf(waypoint()), waypointClass, renderOptions, live)
  const both = { 'istio.io/gateway-name': 'waypoint', 'gateway.networking.k8s.io/gateway-name': 'waypoint' }
  t.match(own?.['spec'], { selector: live.spec.selector, template: { metadata: { labels: both } } })
  t.strictSame(Object(service?.['spec']).selector, { 'gateway.networking.k8s.io/gateway-name': 'waypoint' })
})

t.test('a load balancer is asked for the address that the Gateway wants', async (t) => {
  const addresses = [{ type: 'IPAddress', value: '10.1.2.3' }]
  const annotations = { 'networking.istio.io/service-type': 'LoadBalancer' }
  const of = (change: Parameters<typeof waypoint>[0]) =>
    Object(render(waypoint(change))[2]?.['spec']).loadBalancerIP
  t.equal(of({ annotations, spec: { addresses } }), '10.1.2.3')
  t.equal(of({ spec: { addresses } }), undefined)
  t.equal(of({ annotations }), undefined)
})

t.test('the network of the mesh is a label of all and known to the pods', async (t) => {
  const children = render(waypoint(), { ...renderOptions, network: 'n1' })
  for (const { metadata } of children) t.equal(metadata.labels['topology.istio.io/network'], 'n1')
  t.match(JSON.stringify(children), '"ISTIO_META_NETWORK","value":"n1"')
})

t.test('ports of the Service: one per port, with names that Kubernetes takes', async (t) => {
  const listener = (name: string, port: number) => ({
    name,
    port,
    protocol: 'HBONE',
    hostname: '',
    allowed: { from: 'Same' } as const,
    kinds: undefined,
    tls: undefined,
  })
  const shown = (...listeners: ReturnType<typeof listener>[]) =>
    servicePorts(listeners)
      .slice(1)
      .map(({ name, port }) => `${name}:${port}`)
  t.strictSame(shown(listener('mesh', 15_008)), ['mesh:15008'])
  t.strictSame(shown(listener('a', 15_008), listener('b', 15_008)), ['a:15008'])
  t.strictSame(shown(listener('a.b', 1), listener('a-b', 2)), ['a-b:1', 'a-b-2:2'])
  t.strictSame(shown(listener('status-port', 3)), ['status-port-3:3'])
  t.strictSame(shown(listener('-', 4)), ['listener:4'])
  t.equal(shown(listener('x'.repeat(200), 5))[0]?.length, 65, '63 and the port')
})

t.test('a Gateway of any shape is read or is none', async (t) => {
  for (const spec of [undefined, null, 'x', [], {}, { gatewayClassName: 5 }, { gatewayClassName: '' }])
    t.equal(readGateway({ metadata: { name: 'a', namespace: 'b' }, spec }), undefined)
  const odd = {
    gatewayClassName: 'c',
    listeners: [
      null,
      5,
      { name: 1 },
      {
        name: 'a',
        port: 1,
        protocol: 'HBONE',
        allowedRoutes: { namespaces: { from: 'Selector', selector: 'x' } },
      },
    ],
    addresses: 'x',
    infrastructure: 5,
  }
  const read = readGateway({ metadata: {}, spec: odd, status: { addresses: [5, { type: 'x', value: 'y' }] } })
  t.strictSame(read?.listeners, [
    {
      name: 'a',
      port: 1,
      protocol: 'HBONE',
      hostname: '',
      allowed: { from: 'None' },
      kinds: undefined,
      tls: undefined,
    },
  ])
  t.strictSame(read?.published, [])
})
