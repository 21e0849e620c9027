import t from 'tap'
import type { EndpointSlice, Lease } from '#kube'
import { clusterObjectsPlan, clusterServices } from '../../../sandbox/controllers/cluster-objects.ts'
import { namespacePlan } from '../../../sandbox/controllers/namespace-contents.ts'
import { nodeLifecyclePlan, podGcPlan } from '../../../sandbox/controllers/node-lifecycle.ts'
import { sandboxConfig } from '../../../sandbox/config.ts'
import { node, now, pod, ready, told } from './world.ts'

const lease = (secondsAgo: number): Lease => ({
  metadata: { name: 'n1', namespace: 'kube-node-lease' },
  spec: { renewTime: new Date(now.getTime() - secondsAgo * 1000).toISOString() },
})
const running = pod('p', { status: { conditions: [{ type: 'Initialized', status: 'True' }, ready()] } })
const taint = (key: string) => ({ key: `node.kubernetes.io/${key}`, effect: 'NoSchedule' })
const sliceNamed = (name: string): EndpointSlice => ({
  metadata: { name, namespace: 'kube-system' },
  addressType: 'IPv4',
  endpoints: [],
})
const unready = node('n1', { status: { conditions: [ready(false)] } })

t.test('a node that renews its lease is left alone, and looked at again in time', async (t) => {
  t.same(told(nodeLifecyclePlan(node('n1'), lease(10), [running], now)), ['again in 30500 ms'])
})

t.test('a node silent for more than 40 s is marked, and so are its pods', async (t) => {
  const lines = told(nodeLifecyclePlan(node('n1'), lease(41), [running], now))
  t.match(lines, [
    /^patch Node n1 status .*"type":"Ready","status":"Unknown","reason":"NodeStatusUnknown"/,
    'Warning NodeNotReady',
    /^patch Pod p status .*"type":"Initialized","status":"True".*"type":"Ready","status":"False"/,
    'Warning NodeNotReady',
  ])
})

t.test('a node that has always been silent counts from its creation', async (t) => {
  const created = (secondsAgo: number) =>
    node('n1', {
      metadata: { name: 'n1', creationTimestamp: new Date(now.getTime() - secondsAgo * 1000).toISOString() },
    })
  t.same(told(nodeLifecyclePlan(created(10), undefined, [], now)), ['again in 30500 ms'])
  t.match(told(nodeLifecyclePlan(created(60), undefined, [], now)), [/Unknown/, 'Warning NodeNotReady'])
})

t.test('silence while nobody could be heard does not count', async (t) => {
  const since = (secondsAgo: number) => new Date(now.getTime() - secondsAgo * 1000)
  t.same(told(nodeLifecyclePlan(node('n1'), lease(300), [running], now, since(5))), ['again in 35500 ms'])
  t.match(told(nodeLifecyclePlan(node('n1'), lease(300), [], now, since(45))), [
    /Unknown/,
    'Warning NodeNotReady',
  ])
})

t.test('what is marked already is not marked again', async (t) => {
  const lost = node('n1', {
    spec: { taints: [taint('unreachable')] },
    status: { conditions: [{ type: 'Ready', status: 'Unknown' }] },
  })
  t.same(
    told(nodeLifecyclePlan(lost, lease(100), [pod('p', { status: { conditions: [ready(false)] } })], now)),
    [],
  )
})

t.test('taints follow the Ready condition, and other taints stay', async (t) => {
  const gpu = { key: 'gpu', effect: 'NoSchedule' }
  const cases: [string, Parameters<typeof node>[1], RegExp][] = [
    [
      'not ready',
      { ...unready, spec: { taints: [gpu] } },
      /"taints":\[{"key":"gpu".*},{"key":"node.kubernetes.io\/not-ready"/,
    ],
    [
      'back',
      { spec: { taints: [taint('unreachable'), gpu] } },
      /"taints":\[{"key":"gpu","effect":"NoSchedule"}\]/,
    ],
  ]
  for (const [name, o, want] of cases)
    t.match(told(nodeLifecyclePlan(node('n1', o), lease(1), [], now))[0] ?? '', want, name)
})

t.test('pods that nobody is left to end are ended', async (t) => {
  const exists = (name: string) => name === 'n1'
  const deletionTimestamp = '2026-01-01T00:00:00Z'
  const cases: [string, Parameters<typeof pod>[1], string[]][] = [
    ['on a node', { spec: { nodeName: 'n1' } }, []],
    ['on a node that is gone', { spec: { nodeName: 'n9' } }, ['delete Pod p at once']],
    ['waiting for a node', {}, []],
    [
      'deleted before it had a node',
      { metadata: { name: 'p', deletionTimestamp } },
      ['delete Pod p at once'],
    ],
    [
      'deleted, its node will end it',
      { metadata: { name: 'p', deletionTimestamp }, spec: { nodeName: 'n1' } },
      [],
    ],
  ]
  for (const [name, o, want] of cases) t.same(told(podGcPlan(pod('p', o), exists)), want, name)
})

t.test('every live namespace gets a service account and the root certificate', async (t) => {
  const namespace = { metadata: { name: 'shop' } }
  const account = { metadata: { name: 'default', namespace: 'shop' } }
  const root = (pem: string) => ({
    metadata: { name: 'kube-root-ca.crt', namespace: 'shop' },
    data: { 'ca.crt': pem },
  })
  t.same(told(namespacePlan(namespace, undefined, undefined, 'pem')), [
    'create ServiceAccount',
    'create ConfigMap',
  ])
  t.same(namespacePlan(namespace, account, root('pem'), 'pem'), [])
  t.match(told(namespacePlan(namespace, account, root('old'), 'pem')), [
    /^patch ConfigMap kube-root-ca.crt .*"ca.crt":"pem"/,
  ])
  t.same(namespacePlan({ ...namespace, status: { phase: 'Terminating' } }, undefined, undefined, 'pem'), [])
})

t.test('the API server and DNS are Services', async (t) => {
  const config = sandboxConfig('t')
  const [api, dns] = clusterServices(config)
  if (!api || !dns) return t.fail('two')
  t.same(told(clusterObjectsPlan(api, config, undefined, undefined)), [
    'create Service',
    'create EndpointSlice',
  ])
  t.match(clusterObjectsPlan(dns, config, dns, undefined), [
    {
      object: {
        metadata: { name: 'kube-dns', labels: { 'kubernetes.io/service-name': 'kube-dns' } },
        endpoints: [{ addresses: ['10.96.0.10'] }],
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53, protocol: 'TCP' },
        ],
      },
    },
  ])
  t.same(clusterObjectsPlan(dns, config, dns, sliceNamed('kube-dns')), [])
  t.equal(api.spec?.clusterIP, '10.96.0.1')
  t.equal(dns.spec?.clusterIP, '10.96.0.10')
})
