type RoleRule = Readonly<{
  apiGroups?: readonly string[]
  resources?: readonly string[]
  resourceNames?: readonly string[]
  nonResourceURLs?: readonly string[]
  verbs: readonly string[]
}>

const read = ['get', 'list', 'watch']
const write = ['create', 'delete', 'deletecollection', 'patch', 'update']
const everything = ['*']

const rule = (group: string, resources: readonly string[], verbs: readonly string[]): RoleRule => ({
  apiGroups: [group],
  resources,
  verbs,
})
const urls = (...nonResourceURLs: string[]): RoleRule => ({ nonResourceURLs, verbs: ['get'] })

const rbacApi = 'rbac.authorization.k8s.io'
const labels = { 'kubernetes.io/bootstrapping': 'rbac-defaults' }

const clusterRole = (
  name: string,
  rules: readonly RoleRule[],
  more: Readonly<Record<string, string>> = {},
) => ({
  apiVersion: `${rbacApi}/v1`,
  kind: 'ClusterRole',
  metadata: { name, labels: { ...labels, ...more } },
  rules,
})

/** A role that is the sum of those that carry `label`. */
const aggregated = (name: string, label: string, more: Readonly<Record<string, string>> = {}) => ({
  ...clusterRole(name, [], more),
  aggregationRule: { clusterRoleSelectors: [{ matchLabels: { [aggregateTo(label)]: 'true' } }] },
})
const aggregateTo = (role: string) => `${rbacApi}/aggregate-to-${role}`
const toward = (role: string) => ({ [aggregateTo(role)]: 'true' })

type Subject = readonly [kind: 'User' | 'Group', name: string]
const binding = (name: string, role: string, ...subjects: readonly Subject[]) => ({
  apiVersion: `${rbacApi}/v1`,
  kind: 'ClusterRoleBinding',
  metadata: { name, labels },
  roleRef: { apiGroup: rbacApi, kind: 'ClusterRole', name: role },
  subjects: subjects.map(([kind, subject]) => ({ apiGroup: rbacApi, kind, name: subject })),
})

const namespacedCore = [
  'bindings',
  'configmaps',
  'endpoints',
  'events',
  'limitranges',
  'namespaces/status',
  'persistentvolumeclaims',
  'persistentvolumeclaims/status',
  'pods',
  'pods/log',
  'pods/status',
  'replicationcontrollers',
  'replicationcontrollers/scale',
  'replicationcontrollers/status',
  'resourcequotas',
  'resourcequotas/status',
  'serviceaccounts',
  'services',
  'services/status',
  'namespaces',
]
const scaled = ['deployments', 'replicasets', 'statefulsets']
const workloads = [
  'daemonsets',
  'daemonsets/status',
  'controllerrevisions',
  ...scaled,
  ...scaled.map((plural) => `${plural}/scale`),
  ...scaled.map((plural) => `${plural}/status`),
]
const writableCore = [
  'configmaps',
  'endpoints',
  'events',
  'persistentvolumeclaims',
  'pods',
  'pods/attach',
  'pods/eviction',
  'pods/exec',
  'pods/portforward',
  'pods/proxy',
  'replicationcontrollers',
  'replicationcontrollers/scale',
  'secrets',
  'serviceaccounts',
  'services',
  'services/proxy',
]
const writableWorkloads = [
  'daemonsets',
  ...scaled,
  ...scaled.map((plural) => `${plural}/scale`),
  'deployments/rollback',
]

const userRoles = () => [
  clusterRole('cluster-admin', [
    rule('*', everything, everything),
    { nonResourceURLs: everything, verbs: everything },
  ]),
  aggregated('admin', 'admin'),
  aggregated('edit', 'edit', toward('admin')),
  aggregated('view', 'view', toward('edit')),
  clusterRole(
    'system:aggregate-to-admin',
    [
      rule('authorization.k8s.io', ['localsubjectaccessreviews'], ['create']),
      rule(rbacApi, ['rolebindings', 'roles'], [...read, ...write]),
    ],
    toward('admin'),
  ),
  clusterRole(
    'system:aggregate-to-edit',
    [
      rule(
        '',
        ['pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'secrets', 'services/proxy'],
        read,
      ),
      rule('', ['serviceaccounts'], ['impersonate']),
      rule('', ['serviceaccounts/token'], ['create']),
      rule('', writableCore, write),
      rule('apps', writableWorkloads, write),
      rule('autoscaling', ['horizontalpodautoscalers'], write),
      rule('batch', ['cronjobs', 'jobs'], write),
      rule('networking.k8s.io', ['ingresses', 'networkpolicies'], write),
      rule('policy', ['poddisruptionbudgets'], write),
      rule('coordination.k8s.io', ['leases'], [...read, ...write]),
    ],
    toward('edit'),
  ),
  clusterRole(
    'system:aggregate-to-view',
    [
      rule('', namespacedCore, read),
      rule('apps', workloads, read),
      rule('autoscaling', ['horizontalpodautoscalers', 'horizontalpodautoscalers/status'], read),
      rule('batch', ['cronjobs', 'cronjobs/status', 'jobs', 'jobs/status'], read),
      rule('discovery.k8s.io', ['endpointslices'], read),
      rule('networking.k8s.io', ['ingresses', 'ingresses/status', 'networkpolicies'], read),
      rule('policy', ['poddisruptionbudgets', 'poddisruptionbudgets/status'], read),
    ],
    toward('view'),
  ),
]

const discoveryRoles = () => [
  clusterRole('system:discovery', [
    urls(
      '/api',
      '/api/*',
      '/apis',
      '/apis/*',
      '/healthz',
      '/livez',
      '/openapi',
      '/openapi/*',
      '/readyz',
      '/version',
      '/version/',
    ),
  ]),
  clusterRole('system:public-info-viewer', [urls('/healthz', '/livez', '/readyz', '/version', '/version/')]),
  clusterRole('system:basic-user', [
    rule('authorization.k8s.io', ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
    rule('authentication.k8s.io', ['selfsubjectreviews'], ['create']),
  ]),
  clusterRole('system:auth-delegator', [
    rule('authentication.k8s.io', ['tokenreviews'], ['create']),
    rule('authorization.k8s.io', ['subjectaccessreviews'], ['create']),
  ]),
  clusterRole('system:service-account-issuer-discovery', [
    urls(
      '/.well-known/openid-configuration',
      '/.well-known/openid-configuration/',
      '/openid/v1/jwks',
      '/openid/v1/jwks/',
    ),
  ]),
]

const events = [
  rule('', ['events'], ['get', 'create', 'patch', 'update']),
  rule('events.k8s.io', ['events'], ['get', 'create', 'patch', 'update']),
]

/** One process runs the node's pods, its Service addresses and its DNS, under the node's one identity. */
const nodeRole = () =>
  clusterRole('system:node', [
    rule('', ['nodes'], [...read, 'create', 'patch', 'update']),
    rule('', ['nodes/status', 'pods/status'], ['get', 'patch', 'update']),
    rule('', ['pods'], [...read, 'create', 'delete']),
    rule('', ['pods/eviction', 'serviceaccounts/token'], ['create']),
    rule('', ['configmaps', 'namespaces', 'secrets', 'serviceaccounts', 'services'], read),
    rule('discovery.k8s.io', ['endpointslices'], read),
    rule('coordination.k8s.io', ['leases'], [...read, 'create', 'delete', 'patch', 'update']),
    rule('authentication.k8s.io', ['tokenreviews'], ['create']),
    rule('authorization.k8s.io', ['subjectaccessreviews'], ['create']),
    ...events,
  ])

const componentRoles = () => [
  nodeRole(),
  clusterRole('system:kube-controller-manager', [
    rule('apps', ['daemonsets', 'deployments', 'replicasets', 'statefulsets'], [...read, ...write]),
    rule(
      'apps',
      [
        'daemonsets/status',
        'deployments/status',
        'replicasets/status',
        'statefulsets/status',
        'daemonsets/finalizers',
        'deployments/finalizers',
        'replicasets/finalizers',
      ],
      ['get', 'patch', 'update'],
    ),
    rule('apps', ['controllerrevisions'], [...read, ...write]),
    rule('batch', ['cronjobs'], read),
    rule('batch', ['jobs'], [...read, 'delete']),
    rule('batch', ['jobs/status', 'jobs/finalizers'], ['get', 'patch', 'update']),
    rule(
      '',
      ['configmaps', 'endpoints', 'namespaces', 'pods', 'serviceaccounts', 'services'],
      [...read, ...write],
    ),
    rule('', ['pods/binding', 'bindings'], ['create']),
    rule(
      '',
      ['namespaces/status', 'nodes/status', 'pods/status', 'services/status'],
      ['get', 'patch', 'update'],
    ),
    rule('', ['namespaces/finalize'], ['update']),
    rule('', ['nodes'], [...read, 'delete', 'patch', 'update']),
    rule('discovery.k8s.io', ['endpointslices'], [...read, ...write]),
    rule('coordination.k8s.io', ['leases'], [...read, 'create', 'delete', 'patch', 'update']),
    ...events,
  ]),
  clusterRole('system:kube-scheduler', [
    rule('', ['nodes', 'pods', 'namespaces'], read),
    rule('', ['bindings', 'pods/binding'], ['create']),
    rule('', ['pods/status'], ['patch', 'update']),
    ...events,
  ]),
]

/** The roles and bindings that every Kubernetes cluster starts with, as far as something here uses them. */
export const bootstrapRbac = (): readonly object[] => [
  ...userRoles(),
  ...discoveryRoles(),
  ...componentRoles(),
  binding('cluster-admin', 'cluster-admin', ['Group', 'system:masters']),
  binding('system:discovery', 'system:discovery', ['Group', 'system:authenticated']),
  binding('system:basic-user', 'system:basic-user', ['Group', 'system:authenticated']),
  binding(
    'system:public-info-viewer',
    'system:public-info-viewer',
    ['Group', 'system:authenticated'],
    ['Group', 'system:unauthenticated'],
  ),
  binding('system:service-account-issuer-discovery', 'system:service-account-issuer-discovery', [
    'Group',
    'system:serviceaccounts',
  ]),
  binding('system:node', 'system:node', ['Group', 'system:nodes']),
  binding('system:kube-controller-manager', 'system:kube-controller-manager', [
    'User',
    'system:kube-controller-manager',
  ]),
  binding('system:kube-scheduler', 'system:kube-scheduler', ['User', 'system:kube-scheduler']),
]
