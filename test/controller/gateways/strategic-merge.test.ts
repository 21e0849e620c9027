import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { strategicMerge } from '../../../controller/gateways/strategic-merge.ts'
import { builtinKinds, type Schema, strategicMergePatch } from '../../../sandbox/api/types/index.ts'
import { resolve } from '../../../sandbox/api/types/definitions.ts'
import { fieldSchema } from '../../../sandbox/api/types/prune.ts'
import { builtIn, gatewayOf, plain, renderOptions, waypoint } from './gateway-kit.ts'
import { childKinds, childrenOf, optionalChildrenOf } from '../../../controller/gateways/render.ts'

type Fields = Record<string, unknown>
const typeOf = (kind: string) => {
  const found = builtinKinds().find((one) => one.kind === kind)
  if (!found) throw new Error(`no kind ${kind}`)
  return found
}
const oracle = (kind: string, original: unknown, patch: unknown) => {
  const result = strategicMergePatch(typeOf(kind), plain(original) as Fields, patch)
  return 'object' in result ? result.object : result.reject
}
const ours = (kind: string, original: unknown, patch: unknown) => {
  const merged = strategicMerge(kind, plain(original) as Fields, patch)
  return merged.kind === 'merged' ? merged.value : merged.why
}
const rendered = new Map(
  [childrenOf, optionalChildrenOf]
    .flatMap((render) => render(gatewayOf(waypoint()), builtIn('istio-waypoint'), renderOptions))
    .map((child) => [child.kind, plain(child) as Fields]),
)

/** Every list of a kind's spec, with the key that Kubernetes merges it by. */
function* lists(
  schema: Schema,
  path: readonly string[] = [],
): Generator<readonly [readonly string[], string | undefined]> {
  const own = resolve(schema)
  if (path.length > 12) return
  for (const key of Object.keys(own.properties ?? {})) {
    const field = fieldSchema(own, key)
    const child = field && resolve(field)
    if (!child || (key === 'metadata' && path.length > 0)) continue
    const at = [...path, key]
    if (child.type === 'array') {
      const isMerged = child['x-kubernetes-patch-strategy']?.split(',').includes('merge') === true
      yield [at, isMerged ? child['x-kubernetes-patch-merge-key'] : undefined]
      if (child.items) yield* lists(child.items, at)
    } else yield* lists(child, at)
  }
}

const nested = (path: readonly string[], value: unknown) =>
  path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Fields

t.test('lists are merged by the keys that the types of Kubernetes name, and no others are', async (t) => {
  const keys: Record<string, string | undefined> = {}
  for (const kind of childKinds)
    for (const [path, key] of lists(typeOf(kind).schema)) {
      if (path[0] === 'metadata' || path[0] === 'status') continue // of these a user may write labels and annotations
      keys[`${kind} ${path.join('.')}`] = key
      const id = key ?? 'name'
      const before = [{ [id]: 'a', x: 1 }]
      const patch = [{ [id]: 'a', y: 2 }]
      const merged = strategicMerge(kind, nested(path, before), nested(path, patch))
      const want = key === undefined ? patch : [{ [id]: 'a', x: 1, y: 2 }]
      t.strictSame(merged, { kind: 'merged', value: nested(path, want) }, `${kind} ${path.join('.')} ${key}`)
    }
  t.ok(Object.keys(keys).length > 100, 'that is a lot of lists')
  t.equal(keys['Deployment spec.template.spec.containers'], 'name')
})

const cases: readonly (readonly [string, Fields, Fields])[] = [
  ['a number of replicas', {}, { replicas: 3 }],
  [
    'a container is merged',
    {},
    { template: { spec: { containers: [{ name: 'istio-proxy', image: 'x' }] } } },
  ],
  ['one is added', {}, { template: { spec: { containers: [{ name: 'b' }] } } }],
  ['one is deleted', {}, { template: { spec: { containers: [{ name: 'istio-proxy', $patch: 'delete' }] } } }],
  ['a list is replaced', {}, { template: { spec: { containers: [{ $patch: 'replace' }, { name: 'b' }] } } }],
  [
    'a variable is deleted',
    {},
    {
      template: {
        spec: { containers: [{ name: 'istio-proxy', env: [{ name: 'CA_ADDR', $patch: 'delete' }] }] },
      },
    },
  ],
  ['null removes a field', {}, { template: { spec: { terminationGracePeriodSeconds: null } } }],
  ['an object is emptied', {}, { template: { spec: { $patch: 'delete' } } }],
  ['tolerations are not merged', {}, { template: { spec: { tolerations: [{ operator: 'Exists' }] } } }],
  ['keys to retain', {}, { strategy: { $retainKeys: ['type'], type: 'Recreate' } }],
]
t.test('a Deployment is merged as Kubernetes would', async (t) => {
  for (const [title, more, patch] of cases) {
    const base = rendered.get('Deployment') ?? {}
    const original = {
      ...base,
      spec: { ...(base['spec'] as Fields), ...more, strategy: { type: 'RollingUpdate', rollingUpdate: {} } },
    }
    t.strictSame(
      ours('Deployment', original, { spec: patch }),
      oracle('Deployment', original, { spec: patch }),
      title,
    )
  }
  const service = {
    spec: {
      ports: [
        { port: 15_008, appProtocol: 'x' },
        { port: 99, name: 'n' },
      ],
    },
  }
  t.strictSame(
    ours('Service', rendered.get('Service'), service),
    oracle('Service', rendered.get('Service'), service),
  )
  const budget = { spec: { minAvailable: 1, selector: { matchLabels: { a: 'b' } } } }
  const before = rendered.get('PodDisruptionBudget')
  t.strictSame(ours('PodDisruptionBudget', before, budget), oracle('PodDisruptionBudget', before, budget))
})

t.test('what cannot be acted on is refused, with its path', async (t) => {
  const refused = (patch: unknown) => ours('Deployment', {}, patch)
  t.equal(refused('x'), 'not an object')
  t.equal(refused({ spec: { $patch: 'kill' } }), 'spec.$patch: one of merge, replace, delete')
  t.equal(
    refused({ spec: { '$setElementOrder/containers': [] } }),
    'spec.$setElementOrder/containers: unknown directive',
  )
  t.equal(refused({ spec: { $retainKeys: 'x' } }), 'spec.$retainKeys: must be a list')
  t.equal(refused({ spec: { containers: [{ image: 'x' }] } }), 'spec.containers[0]: has no name')
  t.equal(refused({ spec: { env: ['x'] } }), 'spec.env[0]: has no name')
  t.equal(refused(JSON.parse('{"spec":{"__proto__":{"x":1}}}')), 'spec.__proto__: not a field')
  let deep: unknown = 1
  for (let i = 0; i < 10_000; i++) deep = { x: deep }
  t.equal(refused(deep), 'nested too deeply')
})

/** Objects of the fields that matter, with items that meet, in any order. */
const item = fc.record(
  {
    name: fc.constantFrom('a', 'b', 'istio-proxy', 'd'),
    image: fc.constantFrom('1', '2'),
    x: fc.constantFrom(null, 'y'),
  },
  { requiredKeys: ['name'] },
)
const items = fc.uniqueArray(
  fc.oneof(
    { weight: 4, arbitrary: item },
    fc.record({ name: fc.constantFrom('a', 'b'), $patch: fc.constant('delete') }),
  ),
  { selector: ({ name }) => name, maxLength: 4 },
)
const spec = fc.record(
  {
    containers: items,
    initContainers: items,
    tolerations: fc.array(fc.record({ key: fc.constantFrom('a', 'b') }), { maxLength: 2 }),
    nodeSelector: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', null), {
      maxKeys: 2,
      noNullPrototype: true,
    }),
  },
  { requiredKeys: [] },
)
t.test('whatever is merged, the result is what Kubernetes would make of it', async () => {
  fc.assert(
    fc.property(spec, spec, (before, patch) => {
      const clean = JSON.parse(
        JSON.stringify(before, (_, value: unknown) => value ?? undefined),
        (key, value: unknown) => (key === '$patch' ? undefined : value),
      )
      const original = { spec: { template: { spec: clean } } }
      const wanted = { spec: { template: { spec: patch } } }
      assert.deepStrictEqual(
        plain(ours('Deployment', original, wanted)),
        plain(oracle('Deployment', original, wanted)),
      )
    }),
    { numRuns: 2_000 },
  )
})
