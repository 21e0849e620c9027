import fc from 'fast-check'
import t from 'tap'
import { isRecord } from '#base'
import { builtinKinds } from '../../../sandbox/api/types/index.ts'
import { apiVersionOf } from '../../../sandbox/api/rest/object.ts'
import { startServer } from './harness.ts'
import '../../fakes/seed.ts'

/** As many as a few seconds allow; a failing body is shown as it is. */
const bounds = { numRuns: 300, interruptAfterTimeLimit: 4_000, endOnFailure: true }
const words = [
  'spec',
  'status',
  'metadata',
  'data',
  'template',
  'containers',
  'ports',
  'selector',
  'matchLabels',
  'finalizers',
  'clusterIP',
  'clusterIPs',
  'ipFamilies',
  'type',
  'subsets',
  'rules',
  'name',
  'versions',
  'schema',
  'openAPIV3Schema',
  'labels',
  'ownerReferences',
  'managedFields',
  'stringData',
  'roleRef',
  'subjects',
  'endpoints',
  'volumes',
  'replicas',
  '$patch',
  '__proto__',
  'constructor',
  '$setElementOrder/containers',
  'env',
  'names',
  'op',
  'path',
  'value',
]
const leaf = fc.oneof(
  fc.constantFrom(
    null,
    true,
    0,
    -1,
    1.5,
    Number.POSITIVE_INFINITY,
    'x',
    '',
    'None',
    'ClusterIP',
    'IPv4',
    '10.96.0.1',
    '2026-01-01T00:00:00Z',
    'object',
  ),
  fc.string({ maxLength: 6 }),
)
const tree = fc.letrec((tie) => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.array(tie('node'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...words), tie('node'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).node

const kinds = builtinKinds()
const types = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
]

t.test('no body of whatever shape makes the server fail: it answers, and never with 500', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const collection = (index: number) => {
    const kind = kinds[index % kinds.length]
    if (kind === undefined) throw new Error('there are kinds')
    const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`
    return { kind, path: `${root}${kind.namespaced ? '/namespaces/default' : ''}/${kind.plural}` }
  }

  t.test('POST', async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.dictionary(fc.constantFrom(...words), tree, { maxKeys: 5, noNullPrototype: true }),
        async (index, fields) => {
          const { kind, path } = collection(index)
          const metadata = isRecord(fields['metadata']) ? fields['metadata'] : {}
          const body = {
            ...fields,
            apiVersion: apiVersionOf(kind.group, kind.version),
            kind: kind.kind,
            metadata: { ...metadata, name: 'fuzz' },
          }
          const reply = await c.call('POST', path, { body })
          if (reply.status >= 500) throw new Error(`${path} ${reply.text}`)
          if (reply.status === 201) await c.call('DELETE', `${path}/fuzz`)
        },
      ),
      bounds,
    )
    t.pass()
  })

  t.test('PATCH', async (t) => {
    const path = '/apis/apps/v1/namespaces/default/deployments'
    const d = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'd' },
      spec: {
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'x' }] } },
      },
    }
    t.equal((await c.call('POST', path, { body: d })).status, 201)
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...types), tree, fc.boolean(), async (type, patch, status) => {
        const reply = await c.call('PATCH', `${path}/d${status ? '/status' : ''}?fieldManager=f&force=true`, {
          type,
          body: JSON.stringify(patch),
        })
        if (reply.status >= 500) throw new Error(`${type} ${reply.text}`)
      }),
      bounds,
    )
    t.equal((await c.call('GET', `${path}/d`)).status, 200)
  })

  t.test('bytes in every encoding', async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 60 }),
        fc.constantFrom('application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'),
        fc.boolean(),
        async (bytes, type, envelope) => {
          const body = envelope ? Buffer.concat([Buffer.from('k8s\0'), bytes]) : bytes
          const reply = await c.call('POST', '/api/v1/namespaces/default/configmaps', { type, body })
          if (reply.status >= 500)
            throw new Error(`${type} ${Buffer.from(body).toString('hex')} ${reply.text}`)
        },
      ),
      bounds,
    )
    t.equal((await c.call('GET', '/healthz')).text, 'ok')
  })

  t.test('nesting without end', async (t) => {
    const deep = '['.repeat(1_000_000)
    const closed = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep"},"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
    for (const body of [deep, closed])
      t.ok(
        (await c.call('POST', '/api/v1/namespaces/default/configmaps', { body })).status >= 400 ||
          body === closed,
      )
    t.equal((await c.call('GET', '/healthz')).text, 'ok')
  })
})
