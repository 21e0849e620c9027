import t from 'tap'
import { eventually, startServer, type Parsed } from './harness.ts'

const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const things = '/apis/example.com/v1/namespaces/default/things'
const schema = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      required: ['size'],
      properties: { size: { type: 'integer', minimum: 1 }, color: { type: 'string', default: 'red' } },
    },
    status: { type: 'object', properties: { phase: { type: 'string' } } },
  },
}
const crd = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'things.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'things', kind: 'Thing', shortNames: ['th'] },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: schema },
        subresources: { status: {} },
        additionalPrinterColumns: [{ name: 'Size', type: 'integer', jsonPath: '.spec.size' }],
      },
      {
        name: 'v1beta1',
        served: true,
        storage: false,
        schema: { openAPIV3Schema: schema },
        subresources: { status: {} },
      },
    ],
  },
}
const thing = (name: string, spec: object) => ({
  apiVersion: 'example.com/v1',
  kind: 'Thing',
  metadata: { name },
  spec,
})

t.test('custom kinds', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())

  t.test('are served as soon as their definition is there', async (t) => {
    t.equal((await c.call('GET', things)).status, 404)
    const made = await c.call('POST', crds, { body: crd })
    t.equal(made.status, 201)
    const conditions = Object.fromEntries(made.body.status.conditions.map((x: Parsed) => [x.type, x.status]))
    t.match(conditions, { Established: 'True', NamesAccepted: 'True' })
    t.match(made.body.status.acceptedNames, { plural: 'things', singular: 'thing', listKind: 'ThingList' })
    t.match((await c.call('GET', things)).body, { kind: 'ThingList', items: [] })
    const list = await c.call('GET', '/apis/example.com/v1')
    t.match(list.body.resources, [{ name: 'things', shortNames: ['th'] }, { name: 'things/status' }])
  })

  t.test('are defaulted, pruned, validated', async (t) => {
    const made = await c.call('POST', things, { body: thing('a', { size: 3, junk: true }) })
    t.same(made.body.spec, { size: 3, color: 'red' })
    t.equal(made.body.metadata.generation, 1)
    const bad = await c.call('POST', things, { body: thing('b', { size: 0 }) })
    t.match(bad, {
      status: 422,
      body: {
        reason: 'Invalid',
        message: /Thing\.example\.com "b" is invalid: spec\.size: Invalid value: 0/,
      },
    })
    const lacking = await c.call('POST', things, { body: thing('b', {}) })
    t.match(lacking.body, { details: { causes: [{ reason: 'FieldValueRequired', field: 'spec.size' }] } })
    const strict = await c.call('POST', `${things}?fieldValidation=Strict`, {
      body: thing('b', { size: 1, junk: 1 }),
    })
    t.match(strict, { status: 400, body: { message: /unknown field "spec\.junk"/ } })
  })

  t.test('have versions that are the same object', async (t) => {
    const other = await c.call('GET', things.replace('v1', 'v1beta1') + '/a')
    t.match(other.body, { apiVersion: 'example.com/v1beta1', spec: { size: 3 } })
  })

  t.test('have a status that is written apart and does not carry metadata', async (t) => {
    const body = { metadata: { labels: { x: 'y' } }, spec: { size: 9 }, status: { phase: 'Good' } }
    const reply = await c.call('PATCH', `${things}/a/status`, { type: 'application/merge-patch+json', body })
    t.match(reply.body, { spec: { size: 3 }, status: { phase: 'Good' } })
    t.notOk(reply.body.metadata.labels)
    const main = await c.call('PATCH', `${things}/a`, {
      type: 'application/merge-patch+json',
      body: { spec: { size: 4 }, status: { phase: 'Bad' } },
    })
    t.match(main.body, { spec: { size: 4 }, status: { phase: 'Good' }, metadata: { generation: 2 } })
  })

  t.test('take no strategic merge patch', async (t) => {
    t.equal(
      (await c.call('PATCH', `${things}/a`, { type: 'application/strategic-merge-patch+json', body: {} }))
        .status,
      415,
    )
  })

  t.test('show their own columns', async (t) => {
    const table = await c.call('GET', things, {
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' },
    })
    t.match(table.body, {
      kind: 'Table',
      columnDefinitions: [{ name: 'Name' }, { name: 'Size', type: 'integer' }],
      rows: [{ cells: ['a', 4] }],
    })
  })

  t.test('survive a restart', async (t) => {
    await c.restart()
    t.equal((await c.call('GET', `${things}/a`)).body.spec.size, 4)
  })

  t.test('go with their definition, and their objects with them', async (t) => {
    await c.call('PATCH', `${things}/a`, {
      type: 'application/merge-patch+json',
      body: { metadata: { finalizers: ['example.com/x'] } },
    })
    t.match((await c.call('DELETE', `${crds}/things.example.com`)).body.metadata, { deletionTimestamp: /Z$/ })
    await eventually(async () => (await c.call('GET', `${things}/a`)).body.metadata?.deletionTimestamp)
    await c.call('PATCH', `${things}/a`, {
      type: 'application/merge-patch+json',
      body: { metadata: { finalizers: null } },
    })
    await eventually(async () =>
      (await c.call('GET', `${crds}/things.example.com`)).status === 404 ? true : undefined,
    )
    t.equal((await c.call('GET', things)).status, 404)
    t.equal((await c.call('GET', '/apis/example.com/v1')).status, 404)
  })

  t.test('with a bad definition are refused with the place', async (t) => {
    const misnamed = await c.call('POST', crds, { body: { ...crd, metadata: { name: 'wrong.example.com' } } })
    t.match(misnamed, { status: 422, body: { message: /must be spec\.names\.plural/ } })
    const [first] = crd.spec.versions
    const untyped = {
      ...crd,
      spec: { ...crd.spec, versions: [{ ...first, schema: { openAPIV3Schema: { properties: { a: {} } } } }] },
    }
    t.match(await c.call('POST', crds, { body: untyped }), { status: 422, body: { reason: 'Invalid' } })
  })

  t.test('mutating webhook configurations are stored with a warning, not silently', async (t) => {
    const hook = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name: 'w' },
      webhooks: [],
    }
    const reply = await c.call(
      'POST',
      '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
      { body: hook },
    )
    t.equal(reply.status, 201)
    t.match(String(reply.headers['warning']), /not enforced/)
  })
})
