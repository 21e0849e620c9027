import fc from 'fast-check'
import t from 'tap'
import { type JsonObject, strategicMergePatch } from '../../../../sandbox/api/types/index.ts'
import { bean, customKind, kindNamed, nested } from './samples.ts'
import '../../../fakes/seed.ts'

const patchSpec = (spec: JsonObject, patch: JsonObject) => {
  const result = strategicMergePatch(kindNamed('Pod'), { spec }, { spec: patch })
  return 'reject' in result ? result.reject : result.object['spec']
}
const a = { name: 'a', image: 'a:1' }
const b = { name: 'b', image: 'b:1' }
const c = { name: 'c', image: 'c:1' }

const cases: [what: string, spec: JsonObject, patch: JsonObject, result: JsonObject][] = [
  ['a scalar is replaced', { nodeName: 'x' }, { nodeName: 'y' }, { nodeName: 'y' }],
  ['null deletes', { nodeName: 'x', dnsPolicy: 'None' }, { nodeName: null }, { dnsPolicy: 'None' }],
  [
    'an object is merged',
    { securityContext: { runAsUser: 1 } },
    { securityContext: { runAsGroup: 2 } },
    { securityContext: { runAsUser: 1, runAsGroup: 2 } },
  ],
  [
    'an item of a keyed list is merged by its key',
    { containers: [a, b] },
    { containers: [{ name: 'b', image: 'b:2' }] },
    { containers: [a, { ...b, image: 'b:2' }] },
  ],
  [
    'an item with a new key comes first, as in Kubernetes',
    { containers: [a] },
    { containers: [c] },
    { containers: [c, a] },
  ],
  [
    'an item is deleted',
    { containers: [a, b] },
    { containers: [{ name: 'a', $patch: 'delete' }] },
    { containers: [b] },
  ],
  [
    'deleting an item that is not there does nothing',
    { containers: [a] },
    { containers: [{ name: 'z', $patch: 'delete' }] },
    { containers: [a] },
  ],
  [
    'a list is replaced on demand',
    { containers: [a, b] },
    { containers: [{ $patch: 'replace' }, c] },
    { containers: [c] },
  ],
  [
    'an object is replaced on demand',
    { securityContext: { runAsUser: 1 } },
    { securityContext: { $patch: 'replace', runAsGroup: 2 } },
    { securityContext: { runAsGroup: 2 } },
  ],
  [
    'an object is emptied on demand',
    { securityContext: { runAsUser: 1 } },
    { securityContext: { $patch: 'delete' } },
    { securityContext: {} },
  ],
  [
    'a list without a merge key is replaced',
    { tolerations: [{ key: 'a' }] },
    { tolerations: [{ key: 'b' }] },
    { tolerations: [{ key: 'b' }] },
  ],
  [
    'nested keyed lists are merged',
    { containers: [{ ...a, env: [{ name: 'X', value: '1' }] }] },
    { containers: [{ name: 'a', env: [{ name: 'Y', value: '2' }] }] },
    {
      containers: [
        {
          ...a,
          env: [
            { name: 'Y', value: '2' },
            { name: 'X', value: '1' },
          ],
        },
      ],
    },
  ],
  [
    'the order of a list is set',
    { containers: [a, b, c] },
    { $setElementOrder_containers: [{ name: 'c' }, { name: 'a' }, { name: 'b' }] },
    { containers: [c, a, b] },
  ],
  [
    'items that the order does not name keep their places in the old one',
    { containers: [a, b, c] },
    { $setElementOrder_containers: [{ name: 'c' }, { name: 'a' }] },
    { containers: [b, c, a] },
  ],
  [
    'a new item takes its place in the order',
    { containers: [a, b] },
    { $setElementOrder_containers: [{ name: 'c' }, { name: 'a' }, { name: 'b' }], containers: [c] },
    { containers: [c, a, b] },
  ],
  [
    'directives are no part of a new object',
    {},
    {
      containers: [{ $patch: 'delete', name: 'z' }, c],
      affinity: { $retainKeys: ['nodeAffinity'], nodeAffinity: {} },
    },
    { containers: [c], affinity: { nodeAffinity: {} } },
  ],
  [
    'a volume changes its kind by $retainKeys',
    { volumes: [{ name: 'v', emptyDir: {} }] },
    { volumes: [{ name: 'v', $retainKeys: ['name', 'secret'], secret: { secretName: 's' } }] },
    { volumes: [{ name: 'v', secret: { secretName: 's' } }] },
  ],
]
/** `/` does not fit into a TypeScript key without quotes everywhere, so the table writes `_`. */
const slash = (patch: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(patch).map(([key, value]) => [key.replace(/^(\$\w+)_/, '$1/'), value]))

for (const [what, spec, patch, result] of cases)
  t.test(what, async (t) => {
    const before = structuredClone(spec)
    t.strictSame(patchSpec(spec, slash(patch)), result)
    t.strictSame(spec, before, 'the live object is left alone')
  })

t.test(
  'lists of scalars with strategy merge are united; values are deleted by $deleteFromPrimitiveList',
  async (t) => {
    const meta = (finalizers: string[], patch: JsonObject) =>
      strategicMergePatch(kindNamed('Pod'), { metadata: { finalizers } }, { metadata: patch })
    t.strictSame(meta(['a', 'b'], { finalizers: ['b', 'c'] }), {
      object: { metadata: { finalizers: ['a', 'b', 'c'] } },
    })
    t.strictSame(meta(['a', 'b'], { '$deleteFromPrimitiveList/finalizers': ['a'] }), {
      object: { metadata: { finalizers: ['b'] } },
    })
    t.strictSame(
      meta(['a'], {
        '$deleteFromPrimitiveList/finalizers': ['a'],
        '$setElementOrder/finalizers': ['c'],
        finalizers: ['c'],
      }),
      { object: { metadata: { finalizers: ['c'] } } },
    )
  },
)

t.test('a rollout restart of kubectl changes one annotation only', async (t) => {
  const live = {
    spec: { replicas: 2, template: { metadata: { labels: { a: 'b' } }, spec: { containers: [a] } } },
  }
  const patch = {
    spec: { template: { metadata: { annotations: { 'kubectl.kubernetes.io/restartedAt': 'now' } } } },
  }
  t.strictSame(strategicMergePatch(kindNamed('Deployment'), live, patch), {
    object: {
      spec: {
        replicas: 2,
        template: {
          metadata: { labels: { a: 'b' }, annotations: { 'kubectl.kubernetes.io/restartedAt': 'now' } },
          spec: { containers: [a] },
        },
      },
    },
  })
})

t.test('a Service port is merged by its number', async (t) => {
  const live = { spec: { ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }] } }
  t.match(
    strategicMergePatch(kindNamed('Service'), live, { spec: { ports: [{ port: 80, targetPort: 9090 }] } }),
    {
      object: { spec: { ports: [{ name: 'http', port: 80, targetPort: 9090, protocol: 'TCP' }] } },
    },
  )
})

const rejected: [what: string, patch: unknown, reason: RegExp][] = [
  [
    'an unknown directive',
    { spec: { $patch: 'explode' } },
    /invalid value for special key \$patch: "explode"/,
  ],
  [
    'an item without its key',
    { spec: { containers: [{ image: 'x' }] } },
    /does not contain declared merge key: name/,
  ],
  [
    'retained keys without the new one',
    { spec: { volumes: [{ name: 'v', $retainKeys: ['name'], emptyDir: {} }] } },
    /\$retainKeys list must contain/,
  ],
  ['an order that is no list', { spec: { '$setElementOrder/containers': 1 } }, /must be a list/],
  ['a list', [], /must be an object/],
  ['a deep one', nested(70), /too deeply/],
]
for (const [what, patch, reason] of rejected)
  t.test(`${what} is rejected`, async (t) => {
    t.match(strategicMergePatch(kindNamed('Pod'), { spec: { containers: [a] } }, patch as JsonObject), {
      reject: reason,
    })
  })

t.test('custom resources have no strategic merge', async (t) => {
  t.match(strategicMergePatch(customKind({ type: 'object' }), bean({}), {}), {
    reject: /not supported for custom/,
  })
})

t.test('no patch makes it throw, an empty one changes nothing', async (t) => {
  const live = {
    metadata: { labels: { a: 'b' }, finalizers: ['x'] },
    spec: { containers: [a, b], volumes: [{ name: 'v', emptyDir: {} }] },
  }
  t.strictSame(strategicMergePatch(kindNamed('Pod'), live, {}), { object: live })
  const key = fc.constantFrom(
    'metadata',
    'spec',
    'containers',
    'volumes',
    'name',
    'labels',
    'finalizers',
    '$patch',
    '$retainKeys',
    '$setElementOrder/containers',
    '$deleteFromPrimitiveList/finalizers',
    '__proto__',
    'constructor',
  )
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom<unknown>(null, 'a', 1, 'delete', 'replace'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
    ),
  }))
  fc.assert(
    fc.property(fc.dictionary(key, tree), (patch) => {
      strategicMergePatch(kindNamed('Pod'), structuredClone(live), patch)
    }),
    { numRuns: 2000 },
  )
  t.notOk('polluted' in {})
})
