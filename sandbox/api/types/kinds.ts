import type { KindType, ScalePaths } from './schema.ts'

type Row = Readonly<{
  kind: string
  short?: string
  plural?: string
  cluster?: boolean
  status?: boolean
  scale?: boolean
  categories?: readonly string[]
  virtual?: boolean
  fields?: readonly string[]
}>

const REPLICAS: ScalePaths = {
  specReplicas: '.spec.replicas',
  statusReplicas: '.status.replicas',
  labelSelector: '.spec.selector',
}
const ALL = ['all']
const EXTENSIONS = ['api-extensions']

/** Definitions of a group live under this name, by group and version. */
const MODELS: Readonly<Record<string, string>> = {
  '/v1': 'io.k8s.api.core.v1',
  'apps/v1': 'io.k8s.api.apps.v1',
  'batch/v1': 'io.k8s.api.batch.v1',
  'discovery.k8s.io/v1': 'io.k8s.api.discovery.v1',
  'coordination.k8s.io/v1': 'io.k8s.api.coordination.v1',
  'rbac.authorization.k8s.io/v1': 'io.k8s.api.rbac.v1',
  'admissionregistration.k8s.io/v1': 'io.k8s.api.admissionregistration.v1',
  'policy/v1': 'io.k8s.api.policy.v1',
  'autoscaling/v1': 'io.k8s.api.autoscaling.v1',
  'autoscaling/v2': 'io.k8s.api.autoscaling.v2',
  'networking.k8s.io/v1': 'io.k8s.api.networking.v1',
  'scheduling.k8s.io/v1': 'io.k8s.api.scheduling.v1',
  'storage.k8s.io/v1': 'io.k8s.api.storage.v1',
  'events.k8s.io/v1': 'io.k8s.api.events.v1',
  'authentication.k8s.io/v1': 'io.k8s.api.authentication.v1',
  'authorization.k8s.io/v1': 'io.k8s.api.authorization.v1',
  'apiextensions.k8s.io/v1': 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1',
  'meta.k8s.io/v1': 'io.k8s.apimachinery.pkg.apis.meta.v1',
}

const BUILTIN: Readonly<Record<string, readonly Row[]>> = {
  '/v1': [
    {
      kind: 'Pod',
      short: 'po',
      status: true,
      categories: ALL,
      fields: [
        '.spec.nodeName',
        '.spec.restartPolicy',
        '.spec.schedulerName',
        '.spec.serviceAccountName',
      ].concat(['.spec.hostNetwork', '.status.phase', '.status.podIP', '.status.nominatedNodeName']),
    },
    {
      kind: 'Service',
      short: 'svc',
      status: true,
      categories: ALL,
      fields: ['.spec.clusterIP', '.spec.type'],
    },
    { kind: 'Namespace', short: 'ns', cluster: true, status: true, fields: ['.status.phase'] },
    { kind: 'Node', short: 'no', cluster: true, status: true, fields: ['.spec.unschedulable'] },
    { kind: 'ConfigMap', short: 'cm' },
    { kind: 'Secret', fields: ['.type'] },
    { kind: 'ServiceAccount', short: 'sa' },
    {
      kind: 'Event',
      short: 'ev',
      fields: ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath']
        .map((field) => `.involvedObject.${field}`)
        .concat(['.reason', '.reportingComponent', '.source.component', '.type']),
    },
    { kind: 'Endpoints', short: 'ep', plural: 'endpoints' },
    { kind: 'PersistentVolume', short: 'pv', cluster: true, status: true },
    { kind: 'PersistentVolumeClaim', short: 'pvc', status: true },
    {
      kind: 'ReplicationController',
      short: 'rc',
      status: true,
      scale: true,
      categories: ALL,
      fields: ['.status.replicas'],
    },
    { kind: 'ResourceQuota', short: 'quota', status: true },
    { kind: 'LimitRange', short: 'limits' },
    { kind: 'PodTemplate' },
  ],
  'apps/v1': [
    { kind: 'Deployment', short: 'deploy', status: true, scale: true, categories: ALL },
    {
      kind: 'ReplicaSet',
      short: 'rs',
      status: true,
      scale: true,
      categories: ALL,
      fields: ['.status.replicas'],
    },
    { kind: 'DaemonSet', short: 'ds', status: true, categories: ALL },
    { kind: 'StatefulSet', short: 'sts', status: true, scale: true, categories: ALL },
    { kind: 'ControllerRevision' },
  ],
  'batch/v1': [
    { kind: 'Job', status: true, categories: ALL, fields: ['.status.successful'] },
    { kind: 'CronJob', short: 'cj', status: true, categories: ALL },
  ],
  'discovery.k8s.io/v1': [{ kind: 'EndpointSlice' }],
  'coordination.k8s.io/v1': [{ kind: 'Lease' }],
  'rbac.authorization.k8s.io/v1': [
    { kind: 'Role' },
    { kind: 'RoleBinding' },
    { kind: 'ClusterRole', cluster: true },
    { kind: 'ClusterRoleBinding', cluster: true },
  ],
  'apiextensions.k8s.io/v1': [
    {
      kind: 'CustomResourceDefinition',
      short: 'crd,crds',
      cluster: true,
      status: true,
      categories: EXTENSIONS,
    },
  ],
  'admissionregistration.k8s.io/v1': [
    { kind: 'ValidatingWebhookConfiguration', cluster: true, categories: EXTENSIONS },
    { kind: 'MutatingWebhookConfiguration', cluster: true, categories: EXTENSIONS },
    {
      kind: 'ValidatingAdmissionPolicy',
      plural: 'validatingadmissionpolicies',
      cluster: true,
      status: true,
      categories: EXTENSIONS,
    },
    { kind: 'ValidatingAdmissionPolicyBinding', cluster: true, categories: EXTENSIONS },
  ],
  'policy/v1': [{ kind: 'PodDisruptionBudget', short: 'pdb', status: true }],
  'autoscaling/v2': [{ kind: 'HorizontalPodAutoscaler', short: 'hpa', status: true, categories: ALL }],
  'networking.k8s.io/v1': [
    { kind: 'NetworkPolicy', short: 'netpol', plural: 'networkpolicies' },
    { kind: 'Ingress', short: 'ing', plural: 'ingresses', status: true },
    { kind: 'IngressClass', plural: 'ingressclasses', cluster: true },
  ],
  'scheduling.k8s.io/v1': [{ kind: 'PriorityClass', short: 'pc', plural: 'priorityclasses', cluster: true }],
  'storage.k8s.io/v1': [{ kind: 'StorageClass', short: 'sc', plural: 'storageclasses', cluster: true }],
  'events.k8s.io/v1': [
    {
      kind: 'Event',
      short: 'ev',
      fields: ['.regarding.kind', '.regarding.name', '.regarding.namespace', '.type'],
    },
  ],
  'authentication.k8s.io/v1': [
    { kind: 'TokenReview', cluster: true, virtual: true },
    { kind: 'SelfSubjectReview', cluster: true, virtual: true },
  ],
  'authorization.k8s.io/v1': [
    { kind: 'SubjectAccessReview', cluster: true, virtual: true },
    { kind: 'SelfSubjectAccessReview', cluster: true, virtual: true },
    { kind: 'SelfSubjectRulesReview', cluster: true, virtual: true },
    { kind: 'LocalSubjectAccessReview', virtual: true },
  ],
}

let builtin: readonly KindType[] | undefined

export function builtinKinds(): readonly KindType[] {
  builtin ??= kindsOf(BUILTIN)
  return builtin
}

/** The name of the definition of a built-in kind. */
export const modelOf = (group: string, version: string, kind: string): string | undefined => {
  const key = `${group}/${version}`
  return Object.hasOwn(MODELS, key) ? `${MODELS[key]}.${kind}` : undefined
}

const kindsOf = (table: Readonly<Record<string, readonly Row[]>>): readonly KindType[] =>
  Object.entries(table).flatMap(([key, rows]) => rows.map((row) => kindOf(key, row)))

function kindOf(key: string, row: Row): KindType {
  const [group = '', version = ''] = key.split('/')
  const singular = row.kind.toLowerCase()
  return {
    group,
    version,
    kind: row.kind,
    listKind: `${row.kind}List`,
    plural: row.plural ?? `${singular}s`,
    singular,
    shortNames: row.short?.split(',') ?? [],
    categories: row.categories ?? [],
    namespaced: row.cluster !== true,
    status: row.status === true,
    ...(row.scale && { scale: REPLICAS }),
    schema: { $ref: `${MODELS[key]}.${row.kind}` },
    storage: row.virtual !== true,
    virtual: row.virtual === true,
    custom: false,
    ...(row.fields && { selectableFields: row.fields }),
  }
}
