import t from 'tap'
import { configMap, pod, startServer, type Parsed } from './harness.ts'

const core = '/api/v1/namespaces/default'
const rbac = '/apis/rbac.authorization.k8s.io/v1'

t.test('who may do what', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  await c.call('POST', `${core}/serviceaccounts`, {
    body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'bob' } },
  })
  const request = (spec: object = {}) =>
    c.call('POST', `${core}/serviceaccounts/bob/token`, {
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec },
    })
  const token: string = (await request()).body.status.token

  t.test('nobody in particular sees version and health, and nothing else', async (t) => {
    for (const path of ['/version', '/healthz', '/readyz', '/livez'])
      t.equal((await c.call('GET', path, { anonymous: true })).status, 200, path)
    for (const path of ['/api', `${core}/pods`, '/openapi/v3'])
      t.equal((await c.call('GET', path, { anonymous: true })).status, 403, path)
  })

  t.test('a wrong token is no token', async (t) => {
    const reply = await c.call('GET', `${core}/pods`, { token: 'x.y.z' })
    t.match(reply, { status: 401, body: { reason: 'Unauthorized' } })
  })

  t.test('without a role the answer is Kubernetes’ sentence', async (t) => {
    const reply = await c.call('GET', `${core}/configmaps/a`, { token })
    t.match(reply, { status: 403, body: { reason: 'Forbidden', details: { kind: 'configmaps', name: 'a' } } })
    t.match(
      reply.body.message,
      'configmaps "a" is forbidden: User "system:serviceaccount:default:bob" cannot get resource "configmaps" in API group "" in the namespace "default"',
    )
  })

  t.test('a role counts at once, in its namespace and for its verbs only', async (t) => {
    const role = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'r' },
      rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list', 'patch'] }],
    }
    const binding = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'r' },
      roleRef: { kind: 'Role', name: 'r', apiGroup: 'rbac.authorization.k8s.io' },
      subjects: [{ kind: 'ServiceAccount', name: 'bob', namespace: 'default' }],
    }
    t.equal((await c.call('POST', `${rbac}/namespaces/default/roles`, { body: role })).status, 201)
    t.equal((await c.call('POST', `${rbac}/namespaces/default/rolebindings`, { body: binding })).status, 201)
    t.equal((await c.call('GET', `${core}/configmaps`, { token })).status, 200)
    t.equal((await c.call('GET', `${core}/configmaps?watch=true`, { token })).status, 403)
    t.equal((await c.call('POST', `${core}/configmaps`, { token, body: configMap('a') })).status, 403)
    t.equal((await c.call('GET', '/api/v1/namespaces/kube-system/configmaps', { token })).status, 403)
    const apply = { type: 'application/apply-patch+yaml', body: configMap('new') }
    const created = await c.call('PATCH', `${core}/configmaps/new?fieldManager=m`, { token, ...apply })
    t.equal(created.status, 403, 'an apply that creates needs create')
  })

  t.test('the right to watch does not read subresources', async (t) => {
    const rules = [{ apiGroups: [''], resources: ['pods', 'pods/status', 'pods/log'], verbs: ['watch'] }]
    const kind = { apiVersion: 'rbac.authorization.k8s.io/v1', metadata: { name: 'w' } }
    await c.call('POST', `${rbac}/namespaces/default/roles`, { body: { ...kind, kind: 'Role', rules } })
    const binding = {
      roleRef: { kind: 'Role', name: 'w', apiGroup: 'rbac.authorization.k8s.io' },
      subjects: [{ kind: 'ServiceAccount', name: 'bob', namespace: 'default' }],
    }
    await c.call('POST', `${rbac}/namespaces/default/rolebindings`, {
      body: { ...kind, kind: 'RoleBinding', ...binding },
    })
    await c.call('POST', `${core}/pods`, { body: pod('watched') })
    for (const part of ['status', 'log', 'exec'])
      t.equal((await c.call('GET', `${core}/pods/watched/${part}?watch=true`, { token })).status, 403, part)
  })

  t.test('a subresource is a right of its own', async (t) => {
    const reply = await c.call('POST', `${core}/serviceaccounts/bob/token`, { token, body: {} })
    t.match(reply.body.message, /cannot create resource "serviceaccounts\/token"/)
  })

  t.test('tokens have the audience and life that was asked for', async (t) => {
    const other = await request({ audiences: ['istio-ca'], expirationSeconds: 600 })
    t.equal(other.status, 201)
    t.equal(
      (await c.call('GET', `${core}/configmaps`, { token: other.body.status.token })).status,
      401,
      'is not for this server',
    )
    t.equal((await request({ expirationSeconds: 1 })).status, 422)
    t.equal((await c.call('POST', `${core}/serviceaccounts/none/token`, { body: {} })).status, 404)
  })

  t.test('TokenReview says whose a token is, for which audience', async (t) => {
    const istio: string = (await request({ audiences: ['istio-ca'] })).body.status.token
    const review = (spec: object) =>
      c.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
        body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec },
      })
    const good = await review({ token: istio, audiences: ['istio-ca'] })
    t.match(good.body.status, {
      authenticated: true,
      audiences: ['istio-ca'],
      user: { username: 'system:serviceaccount:default:bob' },
    })
    const wrong = await review({ token: istio })
    t.notOk(wrong.body.status.authenticated)
    t.match(wrong.body.status.error, /audience/)
  })

  t.test('a token bound to a pod dies with it', async (t) => {
    await c.call('POST', `${core}/pods`, { body: pod('p', {}, { serviceAccountName: 'bob' }) })
    const bound = { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'p' } }
    const podToken: string = (await request(bound)).body.status.token
    t.equal((await c.call('GET', `${core}/configmaps`, { token: podToken })).status, 200)
    await c.call('DELETE', `${core}/pods/p`)
    t.equal((await c.call('GET', `${core}/configmaps`, { token: podToken })).status, 401)
    t.equal((await request(bound)).status, 404)
  })

  t.test('questions about access are answered', async (t) => {
    const ask = (resource: string, spec: object, as: object = {}) =>
      c.call('POST', `/apis/authorization.k8s.io/v1/${resource}`, { body: { spec }, ...as })
    const resourceAttributes = { verb: 'list', resource: 'configmaps', namespace: 'default' }
    t.equal(
      (await ask('selfsubjectaccessreviews', { resourceAttributes }, { token })).body.status.allowed,
      true,
    )
    t.equal(
      (
        await ask(
          'selfsubjectaccessreviews',
          { resourceAttributes: { ...resourceAttributes, verb: 'delete' } },
          { token },
        )
      ).body.status.allowed,
      false,
    )
    const subject = await ask('subjectaccessreviews', {
      resourceAttributes,
      user: 'system:serviceaccount:default:bob',
    })
    t.equal(subject.body.status.allowed, true)
    t.equal((await ask('subjectaccessreviews', { resourceAttributes, user: 'x' }, { token })).status, 403)
    const rules = await ask('selfsubjectrulesreviews', { namespace: 'default' }, { token })
    t.ok(rules.body.status.resourceRules.some((rule: Parsed) => rule.resources.includes('configmaps')))
    t.equal((await ask('selfsubjectaccessreviews', {}, { token })).status, 422)
    const self = await c.call('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
      body: {},
      token,
    })
    t.match(self.body.status.userInfo, { username: 'system:serviceaccount:default:bob' })
  })

  t.test('who may may stand in for others', async (t) => {
    const headers = { 'impersonate-user': 'system:serviceaccount:default:bob' }
    t.equal((await c.call('GET', `${core}/secrets`, { headers })).status, 403)
    t.equal(
      (await c.call('GET', `${core}/configmaps`, { headers: { 'impersonate-user': 'admin' }, token })).status,
      403,
    )
  })

  t.test('the right to one object is the right to list and watch it by its name', async (t) => {
    const rules = [
      { apiGroups: [''], resources: ['secrets'], resourceNames: ['one'], verbs: ['list', 'watch'] },
    ]
    const role = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'one' },
      rules,
    }
    const binding = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'one' },
      roleRef: { kind: 'Role', name: 'one', apiGroup: 'rbac.authorization.k8s.io' },
      subjects: [{ kind: 'ServiceAccount', name: 'bob', namespace: 'default' }],
    }
    t.equal((await c.call('POST', `${rbac}/namespaces/default/roles`, { body: role })).status, 201)
    t.equal((await c.call('POST', `${rbac}/namespaces/default/rolebindings`, { body: binding })).status, 201)
    const list = async (selector: string) =>
      (await c.call('GET', `${core}/secrets?fieldSelector=${selector}`, { token })).status
    t.equal(await list('metadata.name=one'), 200)
    t.equal(await list('metadata.name%3D%3Done'), 200)
    for (const selector of [
      '',
      'metadata.name=two',
      'metadata.name!=one',
      'metadata.name=one,type=x',
      'type=one',
    ])
      t.equal(await list(selector), 403, selector)
  })

  t.test('a deleted service account proves nothing', async (t) => {
    await c.call('DELETE', `${core}/serviceaccounts/bob`)
    t.equal((await c.call('GET', `${core}/configmaps`, { token })).status, 401)
  })
})

t.test(
  'default roles and bindings get what they lack at the next start, and keep what was added',
  async (t) => {
    const c = await startServer()
    t.teardown(() => c[Symbol.asyncDispose]())
    const node = `${rbac}/clusterroles/system:node`
    const binding = `${rbac}/clusterrolebindings/system:node`
    const discovery = `${rbac}/clusterroles/system:discovery`
    const read = async (path: string): Promise<Parsed> => (await c.call('GET', path)).body
    const patch = (path: string, body: object) =>
      c.call('PATCH', path, { type: 'application/merge-patch+json', body })
    const { rules } = await read(node)
    const extra = { apiGroups: ['x.example'], resources: ['things'], verbs: ['get'] }
    await patch(node, { rules: [extra, ...rules.slice(2)] })
    await patch(binding, { subjects: [] })
    const annotations = { 'rbac.authorization.kubernetes.io/autoupdate': 'false' }
    await patch(discovery, { metadata: { annotations }, rules: [] })
    const untouched = await read(`${rbac}/clusterroles/view`)

    await c.restart()
    const repaired = (await read(node)).rules
    t.same(repaired[0], extra)
    for (const rule of rules)
      t.ok(repaired.some((each: Parsed) => JSON.stringify(each) === JSON.stringify(rule)))
    t.equal(repaired.length, rules.length + 1)
    t.match((await read(binding)).subjects, [{ kind: 'Group', name: 'system:nodes' }])
    t.same((await read(discovery)).rules, [], 'somebody keeps this one as it is')
    t.same(await read(`${rbac}/clusterroles/view`), untouched, 'what is right is not written again')
  },
)
