import t from 'tap'
import type { ConfigMap } from '#kube'
import { renderedWith } from '../../../controller/gateways/overlay.ts'
import { parametersKey, parametersOf } from '../../../controller/gateways/parameters.ts'
import { builtIn, gatewayOf, plain, renderOptions, waypoint } from './gateway-kit.ts'

const map = (name: string, data: Record<string, string>, metadata: object = {}): ConfigMap => ({
  metadata: { name, namespace: 'shop', ...metadata },
  data,
})
const ofClass = (name: string, data: Record<string, string>, creationTimestamp = '2026-01-01T00:00:00Z') =>
  map(name, data, {
    namespace: 'istio-system',
    creationTimestamp,
    labels: { 'gateway.istio.io/defaults-for-class': 'istio-waypoint' },
  })
const withRef = (ref: unknown) => gatewayOf(waypoint({ spec: { infrastructure: { parametersRef: ref } } }))
const own = withRef({ group: '', kind: 'ConfigMap', name: 'mine' })

type Env = { env?: { name: string; value?: string }[] }

/** What the children are with these ConfigMaps, by kind; or why there is none. */
function rendered(mine: Record<string, string> | undefined, defaults: readonly ConfigMap[] = []) {
  const gateway = mine === undefined ? gatewayOf(waypoint()) : own
  const parameters = parametersOf(gateway, defaults, () => (mine ? map('mine', mine) : undefined))
  if (parameters.kind === 'invalid') return parameters.message
  const result = renderedWith(gateway, builtIn('istio-waypoint'), renderOptions, parameters.overlays)
  if (result.kind === 'invalid') return result.message
  return Object.fromEntries(result.children.map((child) => [child.kind, plain(child)]))
}

t.test('each key of a ConfigMap is merged into the object that it names, and into no other', async (t) => {
  const without = rendered(undefined)
  const children = rendered({
    deployment:
      'spec: {replicas: 3, template: {spec: {containers: [{name: istio-proxy, resources: {limits: {cpu: "4"}}}]}}}',
    service: 'metadata: {annotations: {lb: internal}, labels: {a: b}}\nspec: {type: LoadBalancer}',
    serviceAccount: 'imagePullSecrets: [{name: regcred}]',
  })
  t.match(children, {
    Deployment: {
      spec: {
        replicas: 3,
        template: {
          spec: { containers: [{ name: 'istio-proxy', resources: { limits: { cpu: '4', memory: '1Gi' } } }] },
        },
      },
    },
    Service: {
      metadata: { annotations: { lb: 'internal' }, labels: { a: 'b' } },
      spec: { type: 'LoadBalancer' },
    },
    ServiceAccount: { imagePullSecrets: [{ name: 'regcred' }] },
  })
  t.strictSame(Object.keys(children), ['ServiceAccount', 'Deployment', 'Service'], 'no autoscaler, no budget')
  t.strictSame(Object.keys(without), ['ServiceAccount', 'Deployment', 'Service'])
  t.match(without, { Deployment: { spec: { replicas: undefined } } }, 'what scales it is not overruled')
})

t.test('a waypoint is told how long it has to end, where that is another time', async (t) => {
  const told = (podSpec: string) => {
    const children = rendered({ deployment: `spec: {template: {spec: ${podSpec}}}` })
    const { Deployment } = children as Record<string, { spec: { template: { spec: { containers: Env[] } } } }>
    const env = Deployment?.spec.template.spec.containers.flatMap((one) => one.env ?? []) ?? []
    return env.filter(({ name }) => name === 'TERMINATION_GRACE_PERIOD_SECONDS').map(({ value }) => value)
  }
  const rows: readonly [podSpec: string, wanted: string[]][] = [
    ['{terminationGracePeriodSeconds: 300}', ['300']],
    ['{terminationGracePeriodSeconds: 5}', ['5']],
    ['{terminationGracePeriodSeconds: 0}', ['2']],
    ['{terminationGracePeriodSeconds: 30}', []],
    ['{priorityClassName: high}', []],
    [
      '{terminationGracePeriodSeconds: 300, containers: [{name: istio-proxy, env: [{name: TERMINATION_GRACE_PERIOD_SECONDS, value: "90"}]}]}',
      ['90'],
    ],
    ['{terminationGracePeriodSeconds: 300, containers: [{name: beside, image: x}]}', ['300']],
  ]
  for (const [podSpec, wanted] of rows) t.strictSame(told(podSpec), wanted, podSpec)
})

t.test('an autoscaler and a budget are there only where an overlay has one', async (t) => {
  const children = rendered({
    horizontalPodAutoscaler: 'spec: {minReplicas: 2, maxReplicas: 5}',
    podDisruptionBudget: 'spec: {minAvailable: 1}',
  })
  t.match(children, {
    HorizontalPodAutoscaler: {
      metadata: { name: 'waypoint', ownerReferences: [{ kind: 'Gateway', name: 'waypoint' }] },
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'waypoint' },
        minReplicas: 2,
        maxReplicas: 5,
      },
    },
    PodDisruptionBudget: {
      spec: {
        minAvailable: 1,
        selector: { matchLabels: { 'gateway.networking.k8s.io/gateway-name': 'waypoint' } },
      },
    },
  })
  t.match(rendered({ horizontalPodAutoscaler: '{}' }), {
    HorizontalPodAutoscaler: { spec: { maxReplicas: 1 } },
  })
  t.notOk(
    'HorizontalPodAutoscaler' in Object(rendered({ horizontalPodAutoscaler: '' })),
    'nothing asks for nothing',
  )
})

t.test(
  'defaults of the class come first, the Gateway’s own after them; of several defaults the oldest counts',
  async (t) => {
    const replicas = (n: number, more = '') => ({ deployment: `spec: {replicas: ${n}${more}}` })
    const old = ofClass('b', replicas(2, ', paused: true'))
    const young = ofClass('a', replicas(9), '2026-02-01T00:00:00Z')
    t.match(rendered(undefined, [young, old]), { Deployment: { spec: { replicas: 2, paused: true } } })
    t.match(rendered(replicas(3), [young, old]), { Deployment: { spec: { replicas: 3, paused: true } } })
    const other = map('x', replicas(9), { labels: { 'gateway.istio.io/defaults-for-class': 'istio' } })
    t.match(rendered(undefined, [other]), { Deployment: { spec: { replicas: undefined } } }, 'another class')
  },
)

/** Data of the ConfigMap, and why it cannot be followed. */
const bad: readonly (readonly [Record<string, string>, RegExp])[] = [
  [
    { deploymnet: '{}' },
    /ConfigMap shop\/mine: key deploymnet is unknown; one of serviceAccount, deployment/,
  ],
  [{ deployment: 'a: [' }, /ConfigMap shop\/mine: deployment: /],
  [{ deployment: '- a' }, /not an object that could be merged/],
  [{ deployment: '*x' }, /deployment: /],
  [{ deployment: 'spec: {$patch: kill}' }, /Deployment: spec.\$patch: one of/],
  [{ deployment: 'metadata: {name: x}' }, /Deployment: metadata\.name is not to be changed/],
  [{ deployment: 'metadata: {namespace: x}' }, /metadata\.namespace is not to be changed/],
  [{ deployment: 'metadata: {ownerReferences: []}' }, /metadata\.ownerReferences is not to be changed/],
  [{ deployment: 'metadata: {ownerReferences: null}' }, /metadata\.ownerReferences is not to be changed/],
  [{ deployment: 'metadata: {finalizers: [x]}' }, /metadata\.finalizers is not to be changed/],
  [{ deployment: 'metadata: null' }, /metadata is not to be changed/],
  [{ deployment: '$patch: delete' }, /apiVersion is not to be changed/],
  [{ deployment: '$patch: replace\nspec: {}' }, /apiVersion is not to be changed/],
  [{ deployment: 'kind: StatefulSet' }, /kind is not to be changed/],
  [{ deployment: 'apiVersion: apps/v2' }, /apiVersion is not to be changed/],
  [{ deployment: 'status: {}' }, /status is not to be changed/],
  [
    { service: 'metadata: {labels: {gateway.istio.io/managed: x}}' },
    /label gateway\.istio\.io\/managed is not/,
  ],
  [{ service: 'metadata: {labels: null}' }, /label gateway\.networking\.k8s\.io\/gateway-name is not/],
]
t.test('an overlay that cannot be followed is refused with its place and its reason', async (t) => {
  for (const [data, message] of bad) t.match(rendered(data), message, JSON.stringify(data))
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]\n${'bcdefgh'
    .split('')
    .map((name, i) => `${name}: &${name} [${Array(10).fill(`*${'abcdefgh'[i]}`).join(',')}]`)
    .join('\n')}`
  t.match(rendered({ deployment: bomb }), /deployment: /, 'aliases that multiply')
  t.match(rendered({ deployment: `${'{a: '.repeat(20_000)}` }), /deployment: /, 'nesting without end')
  t.match(
    rendered({ deployment: 'apiVersion: apps/v1\nkind: Deployment' }),
    { Deployment: {} },
    'as it is: fine',
  )
})

t.test('what a Gateway may name', async (t) => {
  t.equal(parametersKey(own), 'shop/mine')
  t.equal(parametersKey(withRef({ kind: 'ConfigMap', name: 'x' })), 'shop/x')
  for (const ref of [5, {}, { kind: 'Secret', name: 'x' }, { group: 'apps', kind: 'ConfigMap', name: 'x' }]) {
    const gateway = withRef(ref)
    t.equal(parametersKey(gateway), undefined)
    t.match(
      parametersOf(gateway, [], () => undefined),
      { kind: 'invalid', message: /parametersRef: must name/ },
    )
  }
  t.match(
    parametersOf(own, [], () => undefined),
    { kind: 'invalid', message: /ConfigMap shop\/mine does not exist/ },
  )
})
