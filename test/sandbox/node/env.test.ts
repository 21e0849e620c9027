import t from 'tap'
import { containerEnv, expand } from '../../../sandbox/node/pod/env.ts'
import { quantity } from '../../../sandbox/node/pod/fields.ts'
import { podOf } from './pods.ts'

const facts = { podIps: ['10.244.1.2', 'fd00::2'], hostIps: ['10.77.0.11'] }
const references = {
  configMap: (name: string) => (name === 'cm' ? { a: '1', b: '2' } : undefined),
  secret: (name: string) => (name === 'sec' ? { key: 'hidden' } : undefined),
}
const envOf = (container: Record<string, unknown>) => {
  const pod = podOf(
    { serviceAccountName: 'sa', containers: [{ name: 'app', ...container }] },
    { labels: { app: 'web' }, annotations: { note: 'x' } },
  )
  const [parsed] = pod.spec.containers
  if (!parsed) throw new Error('no container')
  return containerEnv(pod, parsed, facts, { PATH: '/bin' }, references)
}
const field = (fieldPath: string) => ({ valueFrom: { fieldRef: { fieldPath } } })

const fields: [string, string][] = [
  ['metadata.name', 'web'],
  ['metadata.namespace', 'shop'],
  ['metadata.uid', 'uid-1'],
  ["metadata.labels['app']", 'web'],
  ["metadata.annotations['note']", 'x'],
  ['spec.nodeName', 'node-1'],
  ['spec.serviceAccountName', 'sa'],
  ['status.podIP', '10.244.1.2'],
  ['status.podIPs', '10.244.1.2,fd00::2'],
  ['status.hostIP', '10.77.0.11'],
]
for (const [path, want] of fields) {
  t.test(`${path} is ${want}`, async (t) => {
    t.match(envOf({ env: [{ name: 'V', ...field(path) }] }), { kind: 'env', env: { V: want } })
  })
}

t.test('later variables see earlier ones, and themselves only as they were before', async (t) => {
  const env = [
    { name: 'A', value: 'x' },
    { name: 'B', value: '$(A)y $(C) $$(A) $' },
    { name: 'PATH', value: '/app:$(PATH)' },
  ]
  t.strictSame(envOf({ env }), { kind: 'env', env: { A: 'x', B: 'xy $(C) $(A) $', PATH: '/app:/bin' } })
})

t.test('envFrom comes before env and may carry a prefix', async (t) => {
  const outcome = envOf({
    envFrom: [{ configMapRef: { name: 'cm' }, prefix: 'C_' }, { secretRef: { name: 'sec' } }],
    env: [{ name: 'C_a', value: 'mine' }],
  })
  t.strictSame(outcome, { kind: 'env', env: { PATH: '/bin', C_a: 'mine', C_b: '2', key: 'hidden' } })
})

const missing: [string, Record<string, unknown>, string][] = [
  [
    'a ConfigMap that is not there',
    { envFrom: [{ configMapRef: { name: 'no' } }] },
    'configmap "no" not found',
  ],
  [
    'a Secret that is not there',
    { env: [{ name: 'V', valueFrom: { secretKeyRef: { name: 'no', key: 'k' } } }] },
    'secret "no" not found',
  ],
  [
    'a key that is not there',
    { env: [{ name: 'V', valueFrom: { configMapKeyRef: { name: 'cm', key: 'k' } } }] },
    "couldn't find key k in configmap cm",
  ],
]
for (const [name, container, message] of missing) {
  t.test(`${name} is waited for`, async (t) => t.strictSame(envOf(container), { kind: 'missing', message }))
}

t.test('what is optional may be missing and leaves no variable', async (t) => {
  const outcome = envOf({
    envFrom: [{ configMapRef: { name: 'no', optional: true } }],
    env: [{ name: 'V', valueFrom: { secretKeyRef: { name: 'sec', key: 'k', optional: true } } }],
  })
  t.strictSame(outcome, { kind: 'env', env: { PATH: '/bin' } })
})

t.test('limits are counted in the divisor, rounded up', async (t) => {
  const ref = (resource: string, divisor?: string) => ({
    valueFrom: { resourceFieldRef: { resource, divisor } },
  })
  const outcome = envOf({
    resources: { limits: { cpu: '1500m', memory: '1Gi' } },
    env: [
      { name: 'CPU', ...ref('limits.cpu') },
      { name: 'MI', ...ref('limits.memory', '1Mi') },
    ],
  })
  t.match(outcome, { env: { CPU: '2', MI: '1024' } })
})

t.test('quantities', async (t) => {
  t.strictSame(['100m', '2', '1Ki', '3M', 'junk'].map(quantity), [0.1, 2, 1024, 3e6, 0])
})

t.test('a reference to nothing stays as it is written', async (t) => {
  t.equal(expand('$(A) $$(B) $(', { A: '1' }), '1 $(B) $(')
})
