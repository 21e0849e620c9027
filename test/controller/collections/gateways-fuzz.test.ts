import fc from 'fast-check'
import t from 'tap'
import type { Custom } from '#kube'
import { startLogging } from '#telemetry'
import { meshFrom } from '../../../controller/collections/index.ts'
import { inputsOf, namespace, type Objects, pod, service, settings } from './world.ts'
import '../../fakes/seed.ts'

t.setTimeout(300_000)

/** Words that mean something somewhere, in all the wrong places. */
const word = fc.constantFrom(
  'istio-waypoint',
  'istio-remote',
  'wp',
  'bank',
  'shop',
  'none',
  'HBONE',
  'PROXY/15088',
  'PROXY/999999',
  'All',
  'Selector',
  'Hostname',
  'IPAddress',
  '10.0.0.1',
  '::1',
  'x.example.com',
  '',
  '/',
  '__proto__',
  'constructor',
  'Service',
  'Gateway',
  'GatewayClass',
)
const leaf = fc.oneof(word, fc.integer(), fc.double(), fc.boolean(), fc.constant(null))
const keys = [
  'gatewayClassName',
  'listeners',
  'port',
  'protocol',
  'allowedRoutes',
  'namespaces',
  'from',
  'selector',
  'matchLabels',
  'addresses',
  'type',
  'value',
  'name',
  'kind',
  'group',
  'targetRefs',
  'controllerName',
]
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.array(tie('tree'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(fc.constantFrom(...keys), word), tie('tree'), { maxKeys: 4 }),
  ),
}))
const listener = fc.record({
  name: word,
  port: fc.constantFrom<unknown>(15_008, 15_088, -1, '15008', null),
  protocol: fc.constantFrom('HBONE', 'istio.io/PROXY', 'TCP'),
  allowedRoutes: tree,
})
/** Of the right shape, with wrong words in it. */
const nearly = fc.record({
  gatewayClassName: word,
  listeners: fc.array(fc.oneof(listener, tree), { maxLength: 3 }),
  addresses: fc.array(fc.oneof(fc.record({ type: word, value: word }), tree), { maxLength: 3 }),
})
const spec = fc.oneof(nearly, tree)
const published = fc.record({ type: fc.constantFrom('Hostname', 'IPAddress'), value: word })
const statuses = fc.oneof(fc.record({ addresses: fc.array(published, { minLength: 1, maxLength: 2 }) }), tree)
const waypointLabels = [
  'istio.io/use-waypoint',
  'istio.io/use-waypoint-namespace',
  'istio.io/use-waypoint-canary',
  'istio.io/waypoint-for',
  'istio.io/ingress-use-waypoint',
  'gateway.networking.k8s.io/gateway-name',
  'topology.istio.io/network',
  'ambient.istio.io/waypoint-inbound-binding',
  'istio.io/use-waypoint-canary-weight',
]
/** The API server lets nothing but text in. */
const words = fc.dictionary(fc.constantFrom(...waypointLabels), word, { maxKeys: 5 })

const good: Objects = {
  namespaces: [namespace('shop'), namespace('bank')],
  services: [service({}, { labels: { 'istio.io/use-waypoint': 'wp' } })],
  pods: [pod()],
  gateways: [
    {
      metadata: { namespace: 'shop', name: 'wp' },
      spec: {
        gatewayClassName: 'istio-waypoint',
        listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
      },
      status: { addresses: [{ type: 'Hostname', value: 'wp.shop.svc.cluster.local' }] },
    },
  ],
  policies: [{ metadata: { namespace: 'shop', name: 'p' }, spec: { rules: [] } }],
}

t.test(
  'whatever is in a Gateway, a class, labels or targets: nothing throws, and others are as they were',
  async (t) => {
    const errors: string[] = []
    const log = startLogging({ write: (line) => errors.push(line) }).root('test')
    const meshOf = (o: Objects) => meshFrom(inputsOf(o), { ...settings, allowWaypoints: true }, log)
    const alone = meshOf(good)
    const same = (a: typeof alone.addresses, b: typeof alone.addresses) =>
      a.keys().every((key) => a.get(key)?.version === b.get(key)?.version)
    let waypoints = 0
    await fc.assert(
      fc.asyncProperty(
        spec,
        statuses,
        spec,
        words,
        words,
        tree,
        async (a, status, ofClass, labels, annotations, targetRefs) => {
          const metadata = { namespace: 'bank', name: 'bad', labels, annotations }
          const bad: Custom = { metadata, spec: a, status }
          const mesh = meshOf({
            ...good,
            gateways: [...(good.gateways ?? []), bad],
            gatewayClasses: [{ ...bad, metadata: { name: 'other', labels, annotations }, spec: ofClass }],
            services: [...(good.services ?? []), service({}, metadata)],
            pods: [...(good.pods ?? []), pod({ metadata })],
            serviceEntries: [{ metadata, spec: { hosts: ['e.example.com'], resolution: 'DNS' } }],
            workloadEntries: [{ metadata, spec: { address: '192.0.2.1', labels } }],
            policies: [...(good.policies ?? []), { metadata, spec: { targetRefs, rules: [{}] } }],
          })
          waypoints += mesh.waypoints.size() - 1
          for (const conditions of [
            mesh.entryConditions,
            mesh.machineConditions,
            mesh.policies.policyConditions,
          ])
            for (const each of conditions.list())
              if (each.some(({ message = '' }) => message.length > 1024))
                throw new Error('too long a message')
          return same(alone.addresses, mesh.addresses) && same(alone.authorizations, mesh.authorizations)
        },
      ),
      { numRuns: 500 },
    )
    t.strictSame(errors, [])
    t.ok(waypoints > 20, `some of them were waypoints: ${waypoints}`)
  },
)
