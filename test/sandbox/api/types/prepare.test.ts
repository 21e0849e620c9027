import fc from 'fast-check'
import t from 'tap'
import { builtinKinds, type JsonObject, prepare } from '../../../../sandbox/api/types/index.ts'
import { configMap, deployment, kindNamed, nested, pod } from './samples.ts'
import '../../../fakes/seed.ts'

const check = (kind: string, object: JsonObject, old?: JsonObject) => {
  const { errors, unknown } = prepare(kindNamed(kind), object, { fieldValidation: 'Strict', old })
  return [...unknown, ...errors.map((error) => `${error.field}: ${error.message}`)]
}
const service = (spec: JsonObject, name = 'order') => ({ metadata: { name, namespace: 'shop' }, spec })

const refused: [what: string, kind: string, object: JsonObject, causes: (string | RegExp)[]][] = [
  ['a field that no schema knows', 'Pod', pod({ replicas: 1 }), ['unknown field "spec.replicas"']],
  [
    'a misspelt field deep inside',
    'Deployment',
    deployment({}, { ports: [{ containerPort: 80, portt: 1 }] }),
    ['unknown field "spec.template.spec.containers[0].ports[0].portt"'],
  ],
  [
    'a number that is a string',
    'Deployment',
    deployment({ replicas: 'two' }),
    ['spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"'],
  ],
  [
    'a container without a name',
    'Pod',
    pod({ containers: [{ image: 'a' }] }),
    ['spec.containers[0].name: Required value'],
  ],
  [
    'a container without an image',
    'Pod',
    pod({ containers: [{ name: 'a' }] }),
    ['spec.containers[0].image: Required value'],
  ],
  ['no container', 'Pod', pod({ containers: [] }), ['spec.containers: Required value']],
  [
    'two containers of one name',
    'Pod',
    pod({
      containers: [
        { name: 'a', image: 'a' },
        { name: 'a', image: 'b' },
      ],
    }),
    [/^spec.containers\[1\]: Duplicate value: \{"name":"a"\}/],
  ],
  [
    'a policy that does not exist',
    'Pod',
    pod({ restartPolicy: 'Sometimes' }),
    ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"'],
  ],
  [
    'a mount of no volume',
    'Pod',
    pod({ containers: [{ name: 'a', image: 'a', volumeMounts: [{ name: 'v', mountPath: '/v' }] }] }),
    ['spec.containers[0].volumeMounts[0].name: Not found: "v"'],
  ],
  [
    'a name in capitals',
    'ConfigMap',
    { ...configMap({}), metadata: { name: 'Menu' } },
    [/metadata.name: Invalid value: "Menu": a lowercase RFC 1123/],
  ],
  [
    'a label with a space',
    'ConfigMap',
    { ...configMap({}), metadata: { name: 'menu', labels: { a: 'b c' } } },
    [/metadata.labels: Invalid value: "b c": a valid label/],
  ],
  ['a key with a slash', 'ConfigMap', configMap({ 'a/b': 'c' }), [/data\[a\/b\]: Invalid value/]],
  ['a service without ports', 'Service', service({ selector: { a: 'b' } }), ['spec.ports: Required value']],
  [
    'a port out of range',
    'Service',
    service({ ports: [{ port: 70_000 }] }),
    [/spec.ports\[0\].port: Invalid value: 70000/, /targetPort/],
  ],
  [
    'two unnamed ports',
    'Service',
    service({ ports: [{ port: 1 }, { port: 2 }] }),
    [/ports\[0\].name: Required/, /ports\[1\].name: Required/],
  ],
  [
    'a selector that does not select the template',
    'Deployment',
    deployment({ selector: { matchLabels: { app: 'payment' } } }),
    [/spec.template.metadata.labels: Invalid value: .*: `selector` does not match template `labels`/],
  ],
  [
    'labels that are no strings',
    'ConfigMap',
    { ...configMap({}), metadata: { name: 'menu', labels: { a: 1 } } },
    [/metadata.labels.a: Invalid value: "integer"/],
  ],
  ['more levels than any object has', 'ConfigMap', nested(65), [/must not be nested more than 64/]],
]
for (const [what, kind, object, causes] of refused)
  t.test(`${what} is refused with Kubernetes' words`, async (t) => {
    const found = check(kind, object)
    t.equal(found.length, causes.length, found.join('\n'))
    causes.forEach((cause, i) => {
      t.match(found[i], cause)
    })
  })

t.test('a correct object of each kind in the table has no causes', async (t) => {
  t.strictSame(check('Pod', pod()), [])
  t.strictSame(check('Deployment', deployment()), [])
  t.strictSame(
    check('Service', service({ clusterIP: 'None', selector: { a: 'b' } })),
    [],
    'headless: no ports needed',
  )
  t.strictSame(check('Service', service({ type: 'ExternalName', externalName: 'a.example' })), [])
  t.strictSame(
    check('Role', { metadata: { name: 'system:x' }, rules: null }),
    [],
    'roles may be called anything',
  )
})

t.test('fields that may not change are held against the old object', async (t) => {
  const old = deployment()
  const changed = deployment({ selector: { matchLabels: { app: 'order', tier: '1' } } })
  t.match(
    check('Deployment', changed, old).join('\n'),
    /spec.selector: Invalid value: .*: field is immutable/,
  )
  t.strictSame(check('Deployment', deployment({ replicas: 3 }), old), [])
  const stored = prepare(kindNamed('Pod'), pod(), { fieldValidation: 'Ignore' }).object
  t.match(
    check('Pod', pod({ hostNetwork: true }), stored).join('\n'),
    /pod updates may not change fields other than/,
  )
  t.strictSame(check('Pod', pod({ nodeName: 'node-1' }), stored), [], 'a pod is bound once')
  const newer = pod({ containers: [{ name: 'app', image: 'shop/order:2' }] })
  t.strictSame(check('Pod', newer, stored), [], 'an image may change')
})

t.test('unknown fields are dropped whatever was asked, and named unless Ignore', async (t) => {
  const given = { ...configMap({ a: 'b' }), extra: { deep: true } }
  for (const fieldValidation of ['Ignore', 'Warn', 'Strict'] as const) {
    const { object, unknown } = prepare(kindNamed('ConfigMap'), given, { fieldValidation })
    t.notOk('extra' in object)
    t.strictSame(unknown, fieldValidation === 'Ignore' ? [] : ['unknown field "extra"'])
  }
  t.ok('extra' in given, 'the input is left alone')
})

t.test('defaults are those of Kubernetes', async (t) => {
  const { object } = prepare(
    kindNamed('Pod'),
    pod({ volumes: [{ name: 'v' }, { name: 's', secret: { secretName: 'x' } }] }),
    {
      fieldValidation: 'Strict',
    },
  )
  t.match(object, {
    spec: {
      restartPolicy: 'Always',
      dnsPolicy: 'ClusterFirst',
      terminationGracePeriodSeconds: 30,
      enableServiceLinks: true,
      volumes: [{ emptyDir: {} }, { secret: { defaultMode: 420 } }],
      containers: [{ imagePullPolicy: 'IfNotPresent', terminationMessagePath: '/dev/termination-log' }],
    },
  })
})

const pulls: [image: string, policy: string][] = [
  ['order', 'Always'],
  ['order:latest', 'Always'],
  ['order:1', 'IfNotPresent'],
  ['registry:5000/order', 'Always'],
  ['registry:5000/order:1', 'IfNotPresent'],
  ['order@sha256:0000', 'IfNotPresent'],
]
for (const [image, policy] of pulls)
  t.test(`image ${image} is pulled ${policy}`, async (t) => {
    const { object } = prepare(kindNamed('Pod'), pod({ containers: [{ name: 'a', image }] }), {
      fieldValidation: 'Strict',
    })
    t.match(object, { spec: { containers: [{ imagePullPolicy: policy }] } })
  })

t.test('defaults that depend on other fields', async (t) => {
  const made = (kind: string, object: JsonObject) =>
    prepare(kindNamed(kind), object, { fieldValidation: 'Strict' }).object
  t.match(made('Service', service({ ports: [{ port: 80 }] })), {
    spec: { type: 'ClusterIP', sessionAffinity: 'None', ports: [{ protocol: 'TCP', targetPort: 80 }] },
  })
  t.match(made('Deployment', deployment()), {
    spec: {
      replicas: 1,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
    },
  })
  t.notOk(
    'rollingUpdate' in
      Object(made('Deployment', deployment({ strategy: { type: 'Recreate' } }))['spec']).strategy,
  )
  t.match(made('Namespace', { metadata: { name: 'shop' } }), {
    metadata: { labels: { 'kubernetes.io/metadata.name': 'shop' } },
  })
  const secret = made('Secret', { metadata: { name: 's' }, stringData: { a: 'hi' }, data: { b: 'eA==' } })
  t.strictSame(secret['data'], { a: 'aGk=', b: 'eA==' })
  t.notOk('stringData' in secret)
  t.match(
    made('Pod', pod({ containers: [{ name: 'a', image: 'a:1', resources: { limits: { cpu: 1 } } }] })),
    {
      spec: { containers: [{ resources: { limits: { cpu: '1' }, requests: { cpu: '1' } } }] },
    },
  )
})

t.test('preparing what was prepared changes nothing', async (t) => {
  for (const [kind, object] of [
    ['Pod', pod({ volumes: [{ name: 'v' }] })],
    ['Deployment', deployment({}, { ports: [{ containerPort: 80 }] })],
  ] as const) {
    const once = prepare(kindNamed(kind), object, { fieldValidation: 'Strict' }).object
    t.strictSame(prepare(kindNamed(kind), once, { fieldValidation: 'Strict' }).object, once)
  }
})

t.test('no object makes it throw or pollutes a prototype', async (t) => {
  const hostile = JSON.parse(
    '{"metadata":{"name":"a","labels":{"__proto__":"x"}},"__proto__":{"polluted":1},"spec":{"constructor":{}}}',
  ) as JsonObject
  for (const kind of builtinKinds()) prepare(kind, structuredClone(hostile), { fieldValidation: 'Strict' })
  t.notOk('polluted' in {})
  const key = fc.constantFrom(
    'metadata',
    'spec',
    'name',
    'containers',
    'ports',
    'template',
    'selector',
    'rules',
    'labels',
    '__proto__',
    'items',
  )
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom<unknown>(null, 1, 'a', true, ''),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
    ),
  }))
  fc.assert(
    fc.property(fc.constantFrom(...builtinKinds()), fc.dictionary(key, tree), (kind, object) => {
      prepare(kind, object, { fieldValidation: 'Strict' })
    }),
    { numRuns: 2000 },
  )
})
