import fc from 'fast-check'
import t from 'tap'
import { fixed, type KubeNode, keyOf, type KubeObject, type Pod } from '#kube'
import { firstState, nodeName, podObject } from '../../../bench/control-plane/mesh.ts'
import { meshFrom } from '../../../controller/collections/index.ts'
import { trimNode, trimPod } from '../../../controller/collections/trims.ts'
import { factsOf } from '../../../controller/world.ts'
import { namespace, service } from '../objects.ts'
import { settings } from './world.ts'

const real = podObject(3, firstState, { pods: 10, services: 2, nodes: 2 })

t.test('a pod as an API server sends it loses most of what it is', async (t) => {
  const trimmed = trimPod(real)
  t.ok(JSON.stringify(trimmed).length * 6 < JSON.stringify(real).length, 'in bytes')
  t.strictSame(Object.keys(trimmed.spec ?? {}), ['nodeName', 'serviceAccountName', 'containers'])
  t.equal(trimmed.spec?.nodeName, nodeName(1))
  t.strictSame(Object.keys(trimmed.spec?.containers?.[0] ?? {}), ['name', 'ports'])
  t.strictSame(trimmed.status?.conditions, [{ type: 'Ready', status: 'True' }])
  t.equal(
    trimmed.metadata.resourceVersion,
    undefined,
    'a change of that alone is then no change for the reflector',
  )
  t.strictSame(Object.keys(trimmed.metadata.annotations ?? {}), ['ambient.istio.io/redirection'])
  t.strictSame(trimPod(trimmed), trimmed, 'once is enough')
})

const rows = <T extends KubeObject>(name: string, list: readonly unknown[]) =>
  fixed(name, Object.fromEntries((list as T[]).map((row) => [keyOf(row), row])))

const meshOf = (pods: readonly Pod[], nodes: readonly KubeNode[]) =>
  meshFrom(
    {
      pods: rows('pods', pods),
      services: rows('services', [
        service('shop', 'web', { ports: [{ port: 80, targetPort: 'http' }], selector: { app: 'web' } }),
      ]),
      slices: rows('slices', []),
      namespaces: rows('namespaces', [namespace('shop')]),
      nodes: rows('nodes', nodes),
      authorizationPolicies: rows('policies', []),
      peerAuthentications: rows('peers', []),
      serviceEntries: rows('serviceEntries', []),
      workloadEntries: rows('workloadEntries', []),
      gateways: rows('gateways', []),
      gatewayClasses: rows('gatewayClasses', []),
      meshConfig: fixed('meshConfig', {}),
    },
    settings,
  )

const leaf = fc.constantFrom(undefined, null, 5, '', 'x', 'http', true, [], {})
const label = fc.constantFrom('app', 'version', 'istio.io/dataplane-mode', 'pod-template-hash')
const port = fc.oneof(
  leaf,
  fc.record({ name: leaf, containerPort: fc.oneof(leaf, fc.nat(70_000)), protocol: leaf }),
)
const container = fc.oneof(
  leaf,
  fc.record({
    name: leaf,
    image: leaf,
    restartPolicy: fc.constantFrom('Always', 5),
    ports: fc.oneof(leaf, fc.array(port)),
  }),
)
const containers = fc.oneof(leaf, fc.array(container, { maxLength: 3 }))
const condition = fc.oneof(
  leaf,
  fc.record({
    type: fc.constantFrom('Ready', 'Initialized', 5),
    status: fc.constantFrom('True', 'False', null),
  }),
)
const anyPod = fc.record({
  metadata: fc.record({
    name: fc.constant('web-1'),
    namespace: fc.constant('shop'),
    labels: fc.dictionary(label, fc.constantFrom('web', 'x')),
    annotations: fc.dictionary(
      fc.constantFrom('ambient.istio.io/redirection', 'y'),
      fc.constantFrom('enabled', 'z'),
    ),
    ownerReferences: fc.oneof(
      leaf,
      fc.array(fc.oneof(fc.record({ kind: leaf, name: leaf, controller: leaf }))),
    ),
    deletionTimestamp: leaf,
  }),
  spec: fc.oneof(
    leaf,
    fc.record({
      nodeName: leaf,
      hostNetwork: leaf,
      serviceAccountName: leaf,
      containers,
      initContainers: containers,
    }),
  ),
  status: fc.oneof(
    leaf,
    fc.record({
      phase: fc.constantFrom('Running', 'Failed', 5),
      podIP: fc.constantFrom('10.0.0.1', 'x'),
      conditions: fc.oneof(leaf, fc.array(condition)),
    }),
  ),
})

/** What becomes of objects, or how they fail. */
const outcome = (make: () => unknown): string => {
  try {
    return JSON.stringify(make())
  } catch (error) {
    return String(error)
  }
}
const served = (pod: Pod, node: KubeNode) => {
  const { addresses } = meshOf([pod], [node])
  return addresses.list().map(({ name, version }) => [name, version])
}

t.test('whatever a pod looks like: what is made of it is made of what is kept of it', async () => {
  const node = {
    metadata: { name: 'x', labels: { 'topology.kubernetes.io/zone': 'z' } },
    status: { addresses: [] },
  }
  fc.assert(
    fc.property(anyPod, (garbage) => {
      const pod = garbage as unknown as Pod
      const trimmed = trimPod(pod)
      return (
        outcome(() => served(pod, node)) === outcome(() => served(trimmed, trimNode(node))) &&
        outcome(() => factsOf(pod)) === outcome(() => factsOf(trimmed))
      )
    }),
    { numRuns: 1_000 },
  )
})
