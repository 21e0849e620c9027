import t from 'tap'
import {
  builtinKinds,
  type JsonObject,
  openApiV3,
  openApiV3Index,
} from '../../../../sandbox/api/types/index.ts'
import { customKind } from './samples.ts'

const kind = customKind(
  { type: 'object', properties: { roast: { type: 'string', description: 'How dark.' } } },
  { subresources: { status: {} } },
)
const kinds = [...builtinKinds(), kind]
const serve = (group: string, version: string) => JSON.parse(JSON.stringify(openApiV3(group, version, kinds)))

t.test(
  'the index names one document per group and version, by a hash that follows its content',
  async (t) => {
    const paths = Object(openApiV3Index(kinds)['paths'])
    t.match(paths['api/v1'].serverRelativeURL, /^\/openapi\/v3\/api\/v1\?hash=[0-9A-F]{64}$/)
    t.match(paths['apis/shop.example/v1'].serverRelativeURL, /^\/openapi\/v3\/apis\/shop.example\/v1\?hash=/)
    const changed = [...builtinKinds(), customKind({ type: 'object' })]
    const other = Object(openApiV3Index(changed)['paths'])
    t.equal(other['api/v1'].serverRelativeURL, paths['api/v1'].serverRelativeURL)
    t.not(other['apis/shop.example/v1'].serverRelativeURL, paths['apis/shop.example/v1'].serverRelativeURL)
  },
)

t.test('every reference in every document is answered inside it, and nothing of ours leaks', async (t) => {
  for (const [group, version] of new Set(kinds.map((each) => [each.group, each.version] as const))) {
    const document = serve(group, version)
    const text = JSON.stringify(document)
    for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g))
      if (!Object.hasOwn(document.components.schemas, name ?? '')) t.fail(`${group}/${version} lacks ${name}`)
    for (const internal of ['"nonEmpty"', '"emptyIsUnset"', '"mayRepeat"']) t.notOk(text.includes(internal))
  }
})

/** What kubectl asks for before it sends fieldValidation or dryRun, or chooses a patch. */
const parametersOf = (operation: { parameters: { name: string }[] }) =>
  operation.parameters.map((each) => each.name)

t.test('a built-in kind has paths with the parameters and patch types that kubectl looks for', async (t) => {
  const { paths, components } = serve('apps', 'v1')
  const item = paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}']
  t.strictSame(item.patch['x-kubernetes-group-version-kind'], {
    group: 'apps',
    version: 'v1',
    kind: 'Deployment',
  })
  t.strictSame(parametersOf(item.patch), ['dryRun', 'fieldManager', 'fieldValidation', 'force'])
  t.strictSame(Object.keys(item.patch.requestBody.content), [
    'application/apply-patch+yaml',
    'application/json-patch+json',
    'application/merge-patch+json',
    'application/strategic-merge-patch+json',
  ])
  const collection = paths['/apis/apps/v1/namespaces/{namespace}/deployments']
  t.ok(parametersOf(collection.post).includes('fieldValidation'))
  t.ok(paths['/apis/apps/v1/deployments'].get)
  t.ok(paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status'])
  const schema = components.schemas['io.k8s.api.apps.v1.Deployment']
  t.strictSame(schema['x-kubernetes-group-version-kind'], [
    { group: 'apps', version: 'v1', kind: 'Deployment' },
  ])
  const containers = components.schemas['io.k8s.api.core.v1.PodSpec'].properties.containers
  t.equal(containers['x-kubernetes-patch-merge-key'], 'name')
  t.strictSame(containers['x-kubernetes-list-map-keys'], ['name'])
  t.strictSame(containers.items, { $ref: '#/components/schemas/io.k8s.api.core.v1.Container' })
})

t.test('a custom kind is there like a built-in one, without strategic merge', async (t) => {
  const { paths, components } = serve('shop.example', 'v1')
  const item = paths['/apis/shop.example/v1/namespaces/{namespace}/beans/{name}']
  t.notOk('application/strategic-merge-patch+json' in item.patch.requestBody.content)
  const schema: JsonObject = components.schemas['example.shop.v1.Bean']
  t.match(schema, {
    properties: { spec: { properties: { roast: { description: 'How dark.' } } }, metadata: {} },
  })
  t.ok(components.schemas['example.shop.v1.BeanList'])
})

t.test('cluster-scoped and create-only kinds have the paths that fit them', async (t) => {
  const core = serve('', 'v1').paths
  t.ok(core['/api/v1/nodes/{name}'].get)
  t.notOk('/api/v1/namespaces/{namespace}/nodes' in core)
  const reviews = serve('authentication.k8s.io', 'v1').paths
  t.strictSame(Object.keys(reviews['/apis/authentication.k8s.io/v1/tokenreviews']), ['post'])
})
