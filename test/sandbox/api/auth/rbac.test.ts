import t from 'tap'
import {
  type Attributes,
  authorize,
  bootstrapRbac,
  forbiddenMessage,
  impersonation,
  type RbacSource,
  rulesReview,
  selfSubjectAccessReview,
  subjectAccessReview,
  type User,
} from '../../../../sandbox/api/auth/index.ts'

const role = (kind: string, name: string, rules: object[], more: object = {}) => ({
  kind,
  metadata: { name },
  rules,
  ...more,
})
const bind = (name: string, kind: string, roleName: string, subject: object) => ({
  metadata: { name },
  roleRef: { kind, name: roleName },
  subjects: [subject],
})
const user = (username: string, ...groups: string[]): User => ({ username, groups, extra: {} })
const alice = user('alice', 'dev')

const rbac: RbacSource = {
  clusterRoles: () => [
    role('ClusterRole', 'pod-reader', [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] }]),
    role('ClusterRole', 'logs', [{ apiGroups: [''], resources: ['pods/log', '*/scale'], verbs: ['get'] }]),
    role('ClusterRole', 'one', [
      { apiGroups: [''], resources: ['secrets'], resourceNames: ['a'], verbs: ['get'] },
    ]),
    role('ClusterRole', 'urls', [{ nonResourceURLs: ['/metrics', '/debug/*'], verbs: ['get'] }]),
    role('ClusterRole', 'apps', [{ apiGroups: ['apps'], resources: ['*'], verbs: ['*'] }]),
    role('ClusterRole', 'sum', [], {
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { part: 'yes' } }] },
    }),
    {
      kind: 'ClusterRole',
      metadata: { name: 'part-1', labels: { part: 'yes' } },
      rules: [{ apiGroups: ['x'], resources: ['things'], verbs: ['get'] }],
    },
    {
      kind: 'ClusterRole',
      metadata: { name: 'circle', labels: { part: 'yes' } },
      aggregationRule: {
        clusterRoleSelectors: [{ matchExpressions: [{ key: 'part', operator: 'Exists' }] }],
      },
    },
  ],
  clusterRoleBindings: () => [
    bind('readers', 'ClusterRole', 'pod-reader', { kind: 'User', name: 'alice' }),
    bind('logs', 'ClusterRole', 'logs', { kind: 'Group', name: 'dev' }),
    bind('one', 'ClusterRole', 'one', { kind: 'User', name: 'alice' }),
    bind('urls', 'ClusterRole', 'urls', { kind: 'User', name: 'alice' }),
    bind('sum', 'ClusterRole', 'sum', { kind: 'User', name: 'summer' }),
    bind('sa', 'ClusterRole', 'pod-reader', { kind: 'ServiceAccount', name: 'bot', namespace: 'shop' }),
    bind('dangling', 'ClusterRole', 'missing', { kind: 'User', name: 'alice' }),
    { metadata: { name: 'broken' }, subjects: 'nobody' },
  ],
  roles: (namespace) =>
    namespace === 'shop'
      ? [role('Role', 'writer', [{ apiGroups: [''], resources: ['configmaps'], verbs: ['create'] }])]
      : [],
  roleBindings: (namespace) =>
    namespace === 'shop'
      ? [
          bind('writers', 'Role', 'writer', { kind: 'User', name: 'alice' }),
          bind('apps', 'ClusterRole', 'apps', { kind: 'ServiceAccount', name: 'bot' }),
        ]
      : [],
}

const on = (verb: string, resource: string, o: object = {}): Attributes => {
  const [plural = '', subresource] = resource.split('/')
  return { verb, group: '', resource: plural, subresource, ...o }
}
const bot = user('system:serviceaccount:shop:bot', 'system:serviceaccounts')

const cases: [string, User, Attributes, boolean][] = [
  ['a listed verb', alice, on('list', 'pods', { namespace: 'any' }), true],
  ['a verb not listed', alice, on('delete', 'pods'), false],
  ['another group of the same plural', alice, on('list', 'pods', { group: 'metrics.k8s.io' }), false],
  ['a subresource is not included in its resource', alice, on('get', 'pods/status'), false],
  ['a listed subresource', alice, on('get', 'pods/log'), true],
  ['a resource is not included in its subresource', user('x', 'dev'), on('get', 'pods'), false],
  ['a subresource of everything', alice, on('get', 'widgets/scale'), true],
  ['the named object', alice, on('get', 'secrets', { name: 'a' }), true],
  ['another object', alice, on('get', 'secrets', { name: 'b' }), false],
  ['a collection where only a name is allowed', alice, on('get', 'secrets'), false],
  ['an exact path', alice, { verb: 'get', path: '/metrics' }, true],
  ['below an exact path', alice, { verb: 'get', path: '/metrics/x' }, false],
  ['below a starred path', alice, { verb: 'get', path: '/debug/pprof' }, true],
  ['a path with another verb', alice, { verb: 'post', path: '/debug/pprof' }, false],
  ['a Role in its namespace', alice, on('create', 'configmaps', { namespace: 'shop' }), true],
  ['a Role in another namespace', alice, on('create', 'configmaps', { namespace: 'bank' }), false],
  ['a Role at cluster scope', alice, on('create', 'configmaps'), false],
  ['a service account', bot, on('get', 'pods', { namespace: 'bank' }), true],
  [
    'a service account by a RoleBinding without namespace',
    bot,
    on('delete', 'deployments', { group: 'apps', namespace: 'shop' }),
    true,
  ],
  ['the same elsewhere', bot, on('delete', 'deployments', { group: 'apps', namespace: 'bank' }), false],
  [
    'a service account of that name elsewhere',
    user('system:serviceaccount:bank:bot'),
    on('get', 'pods'),
    false,
  ],
  ['an aggregated role', user('summer'), on('get', 'things', { group: 'x' }), true],
  ['beyond an aggregated role', user('summer'), on('list', 'things', { group: 'x' }), false],
  ['nobody', user('mallory', 'system:authenticated'), on('get', 'pods'), false],
  ['a master', user('root', 'system:masters'), on('delete', 'nodes'), true],
]
for (const [name, who, attributes, allowed] of cases)
  t.test(`${name}: ${allowed ? 'allowed' : 'denied'}`, async (t) => {
    t.equal(authorize(who, attributes, rbac).allowed, allowed)
  })

t.test('an allowance names the binding that gave it', async (t) => {
  t.equal(
    authorize(alice, on('get', 'pods'), rbac).reason,
    'RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "pod-reader" to User "alice"',
  )
})

const kindOf = (kind: string) => bootstrapRbac().filter((object) => 'kind' in object && object.kind === kind)
const bootstrap: RbacSource = {
  clusterRoles: () => kindOf('ClusterRole'),
  clusterRoleBindings: () => [
    ...kindOf('ClusterRoleBinding'),
    bind('a', 'ClusterRole', 'admin', { kind: 'User', name: 'admin' }),
    bind('v', 'ClusterRole', 'view', { kind: 'User', name: 'viewer' }),
    bind('c', 'ClusterRole', 'cluster-admin', { kind: 'User', name: 'boss' }),
  ],
  roles: () => [],
  roleBindings: () => [],
}
const node = user('system:node:node-1', 'system:nodes', 'system:authenticated')
const controllers = user('system:kube-controller-manager', 'system:authenticated')
const anybody = user('x', 'system:authenticated')
const apps = { group: 'apps' }
const fromTheStart: [string, User, Attributes, boolean][] = [
  ['a node watches pods', node, on('watch', 'pods'), true],
  ['a node writes pod status', node, on('patch', 'pods/status'), true],
  ['a node makes tokens', node, on('create', 'serviceaccounts/token'), true],
  ['a node reads EndpointSlices', node, on('list', 'endpointslices', { group: 'discovery.k8s.io' }), true],
  ['a node renews its lease', node, on('update', 'leases', { group: 'coordination.k8s.io' }), true],
  ['a node reads no PersistentVolumeClaims', node, on('get', 'persistentvolumeclaims'), false],
  ['a node writes no secrets', node, on('update', 'secrets'), false],
  ['controllers make pods', controllers, on('create', 'pods'), true],
  ['controllers bind pods', controllers, on('create', 'pods/binding'), true],
  ['controllers write Deployment status', controllers, on('patch', 'deployments/status', apps), true],
  ['controllers read no secrets', controllers, on('get', 'secrets'), false],
  ['anybody discovers', anybody, { verb: 'get', path: '/openapi/v3' }, true],
  [
    'anybody asks what he may do',
    anybody,
    on('create', 'selfsubjectaccessreviews', { group: 'authorization.k8s.io' }),
    true,
  ],
  ['anybody lists no pods', anybody, on('list', 'pods'), false],
  [
    'the unknown see the version',
    user('system:anonymous', 'system:unauthenticated'),
    { verb: 'get', path: '/version' },
    true,
  ],
  [
    'the unknown discover nothing',
    user('system:anonymous', 'system:unauthenticated'),
    { verb: 'get', path: '/apis' },
    false,
  ],
  ['view reads Deployments', user('viewer'), on('get', 'deployments', apps), true],
  ['view reads no secrets', user('viewer'), on('get', 'secrets'), false],
  ['admin reads secrets, through edit', user('admin'), on('get', 'secrets'), true],
  ['admin reads logs, through view', user('admin'), on('get', 'pods/log'), true],
  ['admin deletes no nodes', user('admin'), on('delete', 'nodes'), false],
  ['cluster-admin does', user('boss'), on('delete', 'nodes'), true],
  ['cluster-admin uses any path', user('boss'), { verb: 'post', path: '/x' }, true],
]
for (const [name, who, attributes, allowed] of fromTheStart)
  t.test(`at the start ${name}: ${allowed ? 'allowed' : 'denied'}`, async (t) => {
    t.equal(authorize(who, attributes, bootstrap).allowed, allowed)
  })

t.test('a refusal is worded as the API server words it', async (t) => {
  t.equal(
    forbiddenMessage(alice, on('list', 'deployments', { group: 'apps', namespace: 'shop' })),
    'deployments.apps is forbidden: User "alice" cannot list resource "deployments" in API group "apps" in the namespace "shop"',
  )
  t.equal(
    forbiddenMessage(alice, on('get', 'pods/log', { name: 'p', namespace: 'shop' })),
    'pods "p" is forbidden: User "alice" cannot get resource "pods/log" in API group "" in the namespace "shop"',
  )
  t.equal(
    forbiddenMessage(alice, { verb: 'get', path: '/metrics' }),
    'forbidden: User "alice" cannot get path "/metrics"',
  )
})

t.test('reviews answer for the caller and for others', async (t) => {
  const spec = { resourceAttributes: { verb: 'get', resource: 'pods' } }
  t.match(selfSubjectAccessReview(alice, spec, rbac), { allowed: true })
  t.match(selfSubjectAccessReview(user('eve'), spec, rbac), { allowed: false })
  t.match(subjectAccessReview({ ...spec, user: 'alice' }, rbac), { allowed: true })
  t.match(subjectAccessReview(spec, rbac), { reject: /user or group/ })
  t.match(selfSubjectAccessReview(alice, {}, rbac), { reject: /exactly one of/ })
  for (const garbage of [
    null,
    'x',
    { ...spec, groups: 'system:masters' },
    { ...spec, user: 5 },
    { resourceAttributes: [] },
  ])
    t.match(subjectAccessReview(garbage, rbac), { reject: /^spec/ })
  t.match(rulesReview(alice, 'shop', rbac), {
    incomplete: false,
    resourceRules: [
      { resources: ['pods'] },
      { resources: ['pods/log', '*/scale'] },
      { resourceNames: ['a'] },
      { resources: ['configmaps'] },
    ],
    nonResourceRules: [{ nonResourceURLs: ['/metrics', '/debug/*'] }],
  })
})

t.test('impersonation says what the real user must be allowed to do', async (t) => {
  t.same(impersonation({}), { kind: 'none' })
  t.match(impersonation({ 'impersonate-user': 'bob', 'impersonate-group': ['a', 'system:masters'] }), {
    kind: 'as',
    user: { username: 'bob', groups: ['a', 'system:masters', 'system:authenticated'] },
    needs: [
      { resource: 'users', name: 'bob', verb: 'impersonate' },
      { resource: 'groups', name: 'a' },
      { resource: 'groups', name: 'system:masters' },
    ],
  })
  t.match(impersonation({ 'impersonate-user': 'system:serviceaccount:shop:bot' }), {
    user: { groups: ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'] },
    needs: [{ resource: 'serviceaccounts', namespace: 'shop', name: 'bot' }],
  })
  t.match(impersonation({ 'impersonate-group': 'a' }), { kind: 'reject' })
  t.match(impersonation({ 'impersonate-user': 'a', 'impersonate-uid': '1' }), { kind: 'reject' })
})
