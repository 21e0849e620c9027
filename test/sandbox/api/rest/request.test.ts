import t from 'tap'
import { negotiate, wantsAggregatedDiscovery } from '../../../../sandbox/api/rest/accept.ts'
import { attributesOf } from '../../../../sandbox/api/rest/access.ts'
import { generateName, nameFault } from '../../../../sandbox/api/rest/names.ts'
import { parseRoute } from '../../../../sandbox/api/rest/route.ts'
import { builtinKinds } from '../../../../sandbox/api/types/index.ts'
import { byPriority } from '../../../../sandbox/api/discovery/discovery.ts'

const resource = { kind: 'resource', group: '', version: 'v1' }
const routes: [string, object][] = [
  ['/api/v1/pods', { ...resource, plural: 'pods', namespace: undefined, name: undefined }],
  ['/api/v1/namespaces/n/pods/p', { ...resource, plural: 'pods', namespace: 'n', name: 'p' }],
  ['/api/v1/namespaces/n/pods/p/log', { ...resource, plural: 'pods', name: 'p', subresource: 'log' }],
  ['/api/v1/namespaces/n', { ...resource, plural: 'namespaces', namespace: undefined, name: 'n' }],
  ['/api/v1/namespaces/n/status', { ...resource, plural: 'namespaces', name: 'n', subresource: 'status' }],
  [
    '/apis/apps/v1/namespaces/n/deployments',
    { kind: 'resource', group: 'apps', plural: 'deployments', namespace: 'n' },
  ],
  [
    '/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode',
    { plural: 'clusterroles', name: 'system:node' },
  ],
  ['/api', { kind: 'path', path: '/api' }],
  ['/api/v1', { kind: 'group-version', group: '', version: 'v1' }],
  ['/apis/apps', { kind: 'group', group: 'apps' }],
  ['/apis/apps/v1', { kind: 'group-version', group: 'apps', version: 'v1' }],
  ['/healthz', { kind: 'path', path: '/healthz' }],
  ['/', { kind: 'path', path: '/' }],
  ['/api/v1/pods/%', { kind: 'reject' }],
]
for (const [path, want] of routes) t.test(`the path ${path}`, async (t) => t.match(parseRoute(path), want))

const accepts: [string | undefined, object][] = [
  [undefined, { form: 'object', encoding: 'json' }],
  ['application/json', { form: 'object' }],
  ['application/json;as=Table;v=v1;g=meta.k8s.io,application/json', { form: 'table', version: 'v1' }],
  ['application/json;as=Table;v=v9;g=meta.k8s.io,application/json', { form: 'object' }],
  [
    'application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    { form: 'metadata' },
  ],
  ['application/yaml', { encoding: 'yaml' }],
  ['text/html, */*;q=0.8', { form: 'object' }],
  ['application/vnd.kubernetes.protobuf', { kind: 'not-acceptable' }],
]
for (const [header, want] of accepts)
  t.test(`Accept: ${header}`, async (t) => t.match(negotiate(header), want))

t.test('aggregated discovery is given to those who name version 2', async (t) => {
  t.ok(
    wantsAggregatedDiscovery(
      'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json',
    ),
  )
  t.notOk(
    wantsAggregatedDiscovery(
      'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json',
    ),
  )
  t.notOk(wantsAggregatedDiscovery(undefined))
})

const verbs: [string, string, string, string][] = [
  ['GET', '/api/v1/pods', '', 'list'],
  ['GET', '/api/v1/pods', 'watch=true', 'watch'],
  ['GET', '/api/v1/namespaces/n/pods/p', '', 'get'],
  ['POST', '/api/v1/namespaces/n/pods', '', 'create'],
  ['PUT', '/api/v1/namespaces/n/pods/p/status', '', 'update'],
  ['PATCH', '/api/v1/namespaces/n/pods/p', '', 'patch'],
  ['DELETE', '/api/v1/namespaces/n/pods/p', '', 'delete'],
  ['DELETE', '/api/v1/namespaces/n/pods', '', 'deletecollection'],
  ['GET', '/healthz', '', 'get'],
]
for (const [method, path, query, verb] of verbs)
  t.test(`${method} ${path}?${query} is ${verb}`, async (t) =>
    t.equal(attributesOf(parseRoute(path), method, path, new URLSearchParams(query)).verb, verb),
  )

t.test('a namespace itself is in its own namespace for RBAC', async (t) => {
  const path = '/api/v1/namespaces/n'
  t.match(attributesOf(parseRoute(path), 'GET', path, new URLSearchParams()), { namespace: 'n', name: 'n' })
})

const names: [string, string, boolean][] = [
  ['configmaps', 'a.b-c.d', true],
  ['configmaps', 'A', false],
  ['configmaps', 'a..b', false],
  ['configmaps', 'x'.repeat(254), false],
  ['namespaces', 'a.b', false],
  ['services', 'a'.repeat(64), false],
  ['clusterroles', 'system:node', true],
  ['clusterroles', 'a/b', false],
]
for (const [plural, name, fits] of names)
  t.test(`${name.slice(0, 10)} ${fits ? 'may' : 'may not'} name one of ${plural}`, async (t) => {
    const kind = builtinKinds().find((candidate) => candidate.plural === plural)
    if (kind === undefined) throw new Error(plural)
    t.equal(nameFault(kind, name) === undefined, fits)
  })

t.test('generated names stay within a label', async (t) => {
  t.match(
    generateName('web-', () => 0),
    'web-bbbbb',
  )
  t.equal(generateName('x'.repeat(100), () => 0.5).length, 63)
})

t.test('versions come in the order of their stability', async (t) => {
  t.same(['v1alpha1', 'foo', 'v1', 'v2', 'v1beta2', 'v1beta1', 'v10'].sort(byPriority), [
    'v10',
    'v2',
    'v1',
    'v1beta2',
    'v1beta1',
    'v1alpha1',
    'foo',
  ])
})
