import t from 'tap'
import type { JsonObject } from '../../../../sandbox/api/types/index.ts'
import { bean, configMap, customKind, deployment, kindNamed } from './samples.ts'
import { menu, Store } from './tracked-object.ts'

const spec = (object: JsonObject | undefined) => Object(object)['spec']

t.test('the first apply creates the object and owns what it names', async (t) => {
  const store = menu()
  t.strictSame(store.apply('ana', configMap({ tea: '2' })), [])
  t.match(store.entries(), [
    {
      manager: 'ana',
      operation: 'Apply',
      apiVersion: 'v1',
      time: '2026-01-01T00:00:00Z',
      fieldsType: 'FieldsV1',
      fieldsV1: { 'f:data': { 'f:tea': {} } },
    },
  ])
  t.notOk('f:metadata' in Object(store.fields('ana')), 'nobody owns the name')
})

t.test('applying the same again changes nothing at all, not even the time', async (t) => {
  for (const [kind, object] of [
    ['ConfigMap', configMap({ tea: '2' })],
    ['Deployment', deployment({}, { ports: [{ containerPort: 80 }], env: [{ name: 'A', value: '1' }] })],
  ] as const) {
    const store = new Store(kindNamed(kind))
    store.apply('ana', object)
    const before = structuredClone(store.object)
    t.strictSame(store.apply('ana', object), [])
    t.strictSame(store.object, before)
  }
})

t.test('a default inside an atomic list does not make every apply a change', async (t) => {
  const store = new Store(
    customKind({
      type: 'object',
      properties: {
        l: {
          type: 'array',
          items: {
            type: 'object',
            properties: { a: { type: 'string' }, d: { type: 'integer', default: 7 } },
          },
        },
      },
    }),
  )
  store.apply('ana', bean({ l: [{ a: 'x' }] }))
  t.strictSame(spec(store.object), { l: [{ a: 'x', d: 7 }] })
  const before = structuredClone(store.object)
  store.apply('ana', bean({ l: [{ a: 'x' }] }))
  t.strictSame(store.object, before)
})

t.test('two managers share an object, each its own fields', async (t) => {
  const store = menu()
  store.apply('ana', configMap({ tea: '2' }))
  t.strictSame(store.apply('ben', configMap({ milk: '1' })), [])
  t.strictSame(store.data, { tea: '2', milk: '1' })
  store.apply('ana', configMap({ tea: '3' }))
  t.strictSame(store.data, { tea: '3', milk: '1' })
  t.strictSame(store.owners(), ['ben Apply', 'ana Apply'])
})

t.test('another value for a field of somebody else is a conflict that names field and owner', async (t) => {
  const store = menu()
  store.apply('ana', configMap({ tea: '2' }))
  const before = structuredClone(store.object)
  t.strictSame(store.apply('ben', configMap({ tea: '9' })), ['conflict with "ana": .data.tea'])
  t.strictSame(store.object, before)
  store.edit('controller', (object) => Object.assign(Object(object['data']), { milk: '1' }))
  t.strictSame(store.apply('ben', configMap({ tea: '9', milk: '2' })), [
    'conflict with "ana": .data.tea',
    'conflict with "controller" using v1 at 2026-01-01T00:00:02Z: .data.milk',
  ])
})

t.test('force takes the field away from its owner', async (t) => {
  const store = menu()
  store.apply('ana', configMap({ tea: '2', milk: '1' }))
  t.strictSame(store.apply('ben', configMap({ tea: '9' }), { force: true }), [])
  t.strictSame(store.data, { tea: '9', milk: '1' })
  t.strictSame(store.fields('ana'), { 'f:data': { 'f:milk': {} } })
  t.strictSame(store.fields('ben'), { 'f:data': { 'f:tea': {} } })
})

t.test('the same value makes both owners, and it goes when the last one drops it', async (t) => {
  const store = menu()
  store.apply('ana', configMap({ tea: '2', milk: '1' }))
  t.strictSame(store.apply('ben', configMap({ tea: '2' })), [])
  store.apply('ana', configMap({ milk: '1' }))
  t.strictSame(store.data, { tea: '2', milk: '1' }, 'ben still wants tea')
  store.apply('ben', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'menu' } })
  t.strictSame(store.data, { milk: '1' })
  t.strictSame(store.owners(), ['ana Apply'], 'an owner of nothing is forgotten')
})

t.test('a field that is no longer applied is removed, with the container it leaves empty', async (t) => {
  const store = menu()
  store.apply('ana', { ...configMap({ tea: '2' }), metadata: { name: 'menu', labels: { a: 'b' } } })
  store.apply('ana', { ...configMap({ tea: '2' }), metadata: { name: 'menu' } })
  t.notOk('labels' in Object(store.object?.['metadata']))
  t.strictSame(store.data, { tea: '2' })
})

t.test(
  'what a controller set stays when an applier drops it, if the controller changed it last',
  async (t) => {
    const store = new Store(kindNamed('Deployment'))
    store.apply('ana', deployment({ replicas: 2 }))
    store.edit('autoscaler', (object) => Object.assign(spec(object), { replicas: 5 }))
    t.strictSame(store.apply('ana', deployment({ replicas: 2 })).length, 1, 'a conflict')
    t.strictSame(store.apply('ana', deployment()), [], 'leaving it out is the way to give it up')
    t.equal(spec(store.object).replicas, 5)
  },
)

t.test('a controller may take over before the applier lets go', async (t) => {
  const store = new Store(kindNamed('Deployment'))
  store.apply('ana', deployment({ replicas: 2 }))
  store.apply('autoscaler', deployment({ replicas: 2 }))
  store.apply('ana', deployment())
  t.equal(spec(store.object).replicas, 2)
})

t.test('items of keyed lists are owned one by one', async (t) => {
  const store = new Store(kindNamed('Deployment'))
  const env = (...names: string[]) => deployment({}, { env: names.map((name) => ({ name, value: name })) })
  store.apply('ana', env('A', 'B'))
  store.apply('ben', env('B', 'C'))
  const names = () =>
    spec(store.object).template.spec.containers[0].env.map((each: JsonObject) => each['name'])
  t.strictSame(names(), ['A', 'B', 'C'])
  store.apply('ana', env('A'))
  t.strictSame(names(), ['A', 'B', 'C'], 'ben still owns B')
  store.apply('ben', env('C'))
  t.strictSame(names(), ['A', 'C'])
  const wrong = deployment({}, { env: [{ name: 'A', value: 'z' }] })
  t.strictSame(store.apply('ben', wrong), [
    'conflict with "ana": .spec.template.spec.containers[name="app"].env[name="A"].value',
  ])
})

t.test('a missing key counts with its default', async (t) => {
  const store = new Store(kindNamed('Deployment'))
  store.apply('ana', deployment({}, { ports: [{ containerPort: 80 }] }))
  t.ok(
    JSON.stringify(store.fields('ana')).includes(
      JSON.stringify('k:{"containerPort":80,"protocol":"TCP"}').slice(1, -1),
    ),
  )
  t.strictSame(
    store.apply('ben', deployment({}, { ports: [{ containerPort: 80, protocol: 'TCP', name: 'web' }] })),
    [],
  )
  t.strictSame(spec(store.object).template.spec.containers[0].ports, [
    { containerPort: 80, protocol: 'TCP', name: 'web' },
  ])
})

t.test('the order of an applied keyed list wins, items of others keep their places', async (t) => {
  const store = new Store(kindNamed('Deployment'))
  const env = (...names: string[]) => deployment({}, { env: names.map((name) => ({ name, value: name })) })
  store.apply('ana', env('A', 'B', 'C'))
  store.apply('ben', env('X'))
  const names = () =>
    spec(store.object)
      .template.spec.containers[0].env.map((each: JsonObject) => each['name'])
      .join('')
  t.equal(names(), 'ABCX')
  store.apply('ana', env('C', 'N', 'A', 'B'))
  t.equal(names().replace('X', ''), 'CNAB')
})

t.test('atomic values are owned as a whole', async (t) => {
  const store = new Store(kindNamed('Deployment'))
  store.apply('ana', deployment({}, { command: ['run', '--fast'] }))
  t.strictSame(store.apply('ben', deployment({}, { command: ['run'] })), [
    'conflict with "ana": .spec.template.spec.containers[name="app"].command',
  ])
  const other = deployment({ selector: { matchLabels: { app: 'order', x: 'y' } } })
  t.strictSame(store.apply('ben', other), ['conflict with "ana": .spec.selector'])
})

t.test('sets are owned value by value', async (t) => {
  const store = menu()
  const finalizers = (...names: string[]) => ({
    apiVersion: 'v1',
    metadata: { name: 'menu', finalizers: names },
  })
  store.apply('ana', finalizers('a/x', 'a/y'))
  store.apply('ben', finalizers('a/y', 'a/z'))
  t.strictSame(Object(store.object)['metadata'].finalizers, ['a/x', 'a/y', 'a/z'])
  t.strictSame(store.fields('ben'), { 'f:metadata': { 'f:finalizers': { 'v:"a/y"': {}, 'v:"a/z"': {} } } })
  store.apply('ana', finalizers())
  t.strictSame(Object(store.object)['metadata'].finalizers, ['a/y', 'a/z'])
})

t.test('an update takes over exactly what it changes', async (t) => {
  const store = menu()
  store.apply('ana', configMap({ tea: '2', milk: '1' }))
  store.edit('kubectl-edit', (object) => (object['data'] = { tea: '3', milk: '1', rum: '1' }))
  t.strictSame(store.fields('ana'), { 'f:data': { 'f:milk': {} } })
  t.strictSame(store.fields('kubectl-edit'), { 'f:data': { 'f:rum': {}, 'f:tea': {} } })
  const before = structuredClone(store.entries())
  store.edit('somebody', () => {})
  t.strictSame(store.entries(), before, 'an update that changes nothing leaves no trace')
})

t.test('a create owns everything it wrote, with the containers it made', async (t) => {
  const store = menu()
  store.update('kubectl-create', {
    ...configMap({ tea: '2' }),
    metadata: { name: 'menu', labels: { a: 'b' } },
  })
  t.strictSame(store.entries(), [
    {
      manager: 'kubectl-create',
      operation: 'Update',
      apiVersion: 'v1',
      time: '2026-01-01T00:00:00Z',
      fieldsType: 'FieldsV1',
      fieldsV1: { 'f:data': { '.': {}, 'f:tea': {} }, 'f:metadata': { 'f:labels': { '.': {}, 'f:a': {} } } },
    },
  ])
})

t.test('deleting a field takes it from all owners', async (t) => {
  const store = menu()
  store.apply('ana', configMap({ tea: '2', milk: '1' }))
  store.edit('ben', (object) => (object['data'] = { milk: '1' }))
  t.strictSame(store.fields('ana'), { 'f:data': { 'f:milk': {} } })
  t.strictSame(store.owners(), ['ana Apply'])
})

t.test('apply and update of one manager are two owners', async (t) => {
  const store = menu()
  store.update('ana', configMap({ tea: '2' }))
  t.match(store.apply('ana', configMap({ tea: '3' })), [/conflict with "ana" using v1/])
  store.apply('ana', configMap({ tea: '3' }), { force: true })
  t.strictSame(store.owners(), ['ana Apply', 'ana Update'])
})

t.test('an object that was never tracked belongs to before-first-apply', async (t) => {
  const store = menu()
  store.object = configMap({ tea: '2', milk: '1' })
  t.match(store.apply('ana', configMap({ tea: '3' })), [
    /conflict with "before-first-apply" using v1 at .*: .data.tea/,
  ])
  t.strictSame(store.apply('ana', configMap({ tea: '2' })), [])
  t.strictSame(store.owners(), ['ana Apply', 'before-first-apply Update'])
})

t.test('an untracked object stays so under updates', async (t) => {
  const store = menu()
  store.object = configMap({ tea: '2' })
  store.edit('ben', (object) => (object['data'] = { tea: '3' }))
  t.strictSame(store.entries(), [])
})

t.test('status and spec have separate owners', async (t) => {
  const kind = customKind(
    { type: 'object', properties: { a: { type: 'string' } } },
    {
      subresources: { status: {} },
      schema: {
        openAPIV3Schema: {
          type: 'object',
          properties: {
            spec: { type: 'object', properties: { a: { type: 'string' } } },
            status: { type: 'object', properties: { phase: { type: 'string' } } },
          },
        },
      },
    },
  )
  const store = new Store(kind)
  store.apply('ana', { ...bean({ a: 'x' }), status: { phase: 'claimed' } })
  t.strictSame(store.fields('ana'), { 'f:spec': { 'f:a': {} } }, 'the main resource owns no status')
  store.edit('controller', (object) => (object['status'] = { phase: 'Ready' }), 'status')
  t.strictSame(store.owners(), ['ana Apply', 'controller Update status'])
  t.strictSame(store.fields('controller'), { 'f:status': { '.': {}, 'f:phase': {} } })
  const status = { ...bean(undefined), status: { phase: 'Failed' } }
  t.match(store.apply('ben', status, { subresource: 'status' }), [
    /conflict with "controller" with subresource "status" using/,
  ])
})

t.test('a client may edit managedFields, reset them, and not lose them by leaving them out', async (t) => {
  const store = menu()
  store.update('kubectl-client-side-apply', configMap({ tea: '2' }))
  store.edit('kubectl', (object) => {
    for (const entry of Object(object)['metadata'].managedFields)
      Object.assign(entry, { manager: 'kubectl', operation: 'Apply' })
  })
  t.strictSame(store.owners(), ['kubectl Apply'], 'as kubectl migrates from client-side apply')
  store.edit('ben', (object) => delete Object(object)['metadata'].managedFields)
  t.strictSame(store.owners(), ['kubectl Apply'])
  store.edit('ben', (object) => (Object(object)['metadata'].managedFields = [{}]))
  t.strictSame(store.owners(), [])
})

t.test('only the ten latest updaters are kept apart', async (t) => {
  const store = menu()
  store.update('u0', configMap({ k0: '' }))
  for (let i = 1; i <= 14; i++)
    store.edit(`u${i}`, (object) => Object.assign(Object(object['data']), { [`k${i}`]: '' }))
  t.equal(store.entries().length, 10)
  t.ok(store.owners().includes('ancient-changes Update'))
  t.ok(store.owners().includes('u14 Update'))
  t.notOk(store.owners().includes('u0 Update'))
})

t.test('fields that no schema knows are neither merged nor owned', async (t) => {
  const store = menu()
  store.apply('ana', { ...configMap({ tea: '2' }), extra: { a: 1 } })
  t.notOk('extra' in Object(store.object))
  t.strictSame(store.fields('ana'), { 'f:data': { 'f:tea': {} } })
})

t.test('free-form fields of custom objects are owned down to their leaves', async (t) => {
  const store = new Store(customKind({ type: 'object', 'x-kubernetes-preserve-unknown-fields': true }))
  store.apply('ana', bean({ any: { a: 1, l: [1] } }))
  t.strictSame(store.apply('ben', bean({ any: { b: 2 } })), [])
  t.strictSame(spec(store.object), { any: { a: 1, l: [1], b: 2 } })
  t.match(store.apply('ben', bean({ any: { l: [2] } })), ['conflict with "ana": .spec.any.l'])
})
