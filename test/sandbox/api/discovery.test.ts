import t from 'tap'
import { configMap, startServer, type Parsed } from './harness.ts'

const v2 = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json'

t.test('what the server says about itself', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())

  t.test('its version and health', async (t) => {
    t.match((await c.call('GET', '/version')).body, { major: '1', gitVersion: /^v1\.\d+\.\d+-lateen$/ })
    const health = await c.call('GET', '/readyz')
    t.match(health, { status: 200, text: 'ok', headers: { 'content-type': /^text\/plain/ } })
  })

  t.test('groups, versions and resources, one by one', async (t) => {
    t.same((await c.call('GET', '/api')).body.versions, ['v1'])
    const groups = (await c.call('GET', '/apis')).body.groups
    t.match(
      groups.find((g: Parsed) => g.name === 'apps'),
      { preferredVersion: { groupVersion: 'apps/v1' } },
    )
    t.match((await c.call('GET', '/apis/apps')).body, { kind: 'APIGroup', name: 'apps' })
    const core = (await c.call('GET', '/api/v1')).body.resources
    const named = (name: string) => core.find((r: Parsed) => r.name === name)
    t.match(named('pods'), {
      kind: 'Pod',
      namespaced: true,
      shortNames: ['po'],
      verbs: ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'],
    })
    t.match(named('pods/exec'), { verbs: ['create', 'get'] })
    t.match(named('pods/status'), { kind: 'Pod' })
    t.match(named('serviceaccounts/token'), { kind: 'TokenRequest', group: 'authentication.k8s.io' })
    const apps = (await c.call('GET', '/apis/apps/v1')).body.resources
    t.match(
      apps.find((r: Parsed) => r.name === 'deployments/scale'),
      { kind: 'Scale', group: 'autoscaling', version: 'v1' },
    )
    t.equal((await c.call('GET', '/apis/nothing/v1')).status, 404)
    t.equal((await c.call('GET', '/apis/nothing')).status, 404)
  })

  t.test('everything at once to those who ask for it', async (t) => {
    const reply = await c.call('GET', '/apis', { headers: { accept: v2 } })
    t.equal(
      reply.headers['content-type'],
      'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
    )
    const apps = reply.body.items.find((g: Parsed) => g.metadata.name === 'apps')
    const deployments = apps.versions[0].resources.find((r: Parsed) => r.resource === 'deployments')
    t.match(deployments, {
      responseKind: { group: 'apps', version: 'v1', kind: 'Deployment' },
      scope: 'Namespaced',
      subresources: [{ subresource: 'scale' }, { subresource: 'status' }],
    })
    const core = await c.call('GET', '/api', { headers: { accept: v2 } })
    t.equal(core.body.items.length, 1)
  })

  t.test('schemas, with an address that changes with them', async (t) => {
    const index = (await c.call('GET', '/openapi/v3')).body
    const { serverRelativeURL } = index.paths['apis/apps/v1']
    t.match(serverRelativeURL, /^\/openapi\/v3\/apis\/apps\/v1\?hash=/)
    const document = await c.call('GET', serverRelativeURL)
    t.match(document.body, { openapi: /^3/ })
    t.ok(document.body.paths['/apis/apps/v1/namespaces/{namespace}/deployments'])
    t.equal((await c.call('GET', '/openapi/v3/apis/nothing/v1')).status, 404)
    t.equal((await c.call('GET', '/openapi/v2')).status, 404)
  })

  t.test('objects in the form that is asked for', async (t) => {
    const path = '/api/v1/namespaces/default/configmaps'
    await c.call('POST', path, { body: configMap('a', { x: '1', y: '2' }) })
    const accept = (value: string) => ({ headers: { accept: value } })
    const table = await c.call(
      'GET',
      path,
      accept('application/json;as=Table;v=v1;g=meta.k8s.io,application/json'),
    )
    t.match(table.body, {
      kind: 'Table',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { resourceVersion: /\d/ },
      rows: [{ cells: ['a', 2, /s$/], object: { kind: 'PartialObjectMetadata' } }],
    })
    const one = await c.call('GET', `${path}/a`, accept('application/json;as=Table;v=v1;g=meta.k8s.io'))
    t.match(one.body, { kind: 'Table', rows: [{ cells: ['a', 2, /s$/] }] })
    const bare = await c.call(
      'GET',
      path,
      accept('application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'),
    )
    t.match(bare.body, {
      kind: 'PartialObjectMetadataList',
      items: [{ kind: 'PartialObjectMetadata', metadata: { name: 'a' } }],
    })
    const plain = await c.call(
      'GET',
      `${path}/a`,
      accept('application/vnd.kubernetes.protobuf, application/json'),
    )
    t.match(plain, { headers: { 'content-type': 'application/json' }, body: { kind: 'ConfigMap' } })
    t.match((await c.call('GET', `${path}/a`, accept('application/yaml'))).text, /^apiVersion: v1$/m)
    t.equal((await c.call('GET', `${path}/a`, accept('application/vnd.kubernetes.protobuf'))).status, 406)
  })

  t.test('methods that a resource does not have', async (t) => {
    t.equal((await c.call('PUT', '/api/v1/namespaces/default/configmaps', { body: {} })).status, 405)
    t.equal((await c.call('GET', '/apis/authentication.k8s.io/v1/tokenreviews')).status, 405)
    t.equal((await c.call('POST', '/version', { body: {} })).status, 404)
    t.equal((await c.call('GET', '/no/such/thing')).status, 404)
  })
})
