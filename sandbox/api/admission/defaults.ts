import { isRecord } from '#base'
import type { KubeObject } from '../rest/object.ts'
import { change, changeEach, type Fields, fill } from './fields.ts'
import { defaultPodSpec, defaultTemplate } from './pod-defaults.ts'

type SpecDefaults = (spec: Fields) => Fields

const withTemplate = (spec: Fields): Fields => change(spec, 'template', defaultTemplate)

const deployment: SpecDefaults = (spec) => {
  const filled = fill(withTemplate(spec), {
    replicas: 1,
    strategy: {},
    revisionHistoryLimit: 10,
    progressDeadlineSeconds: 600,
  })
  return change(filled, 'strategy', (strategy) => {
    const typed = fill(strategy, { type: 'RollingUpdate' })
    return typed['type'] === 'RollingUpdate'
      ? { ...typed, rollingUpdate: fill(typed['rollingUpdate'], { maxUnavailable: '25%', maxSurge: '25%' }) }
      : typed
  })
}

const daemonSet: SpecDefaults = (spec) => {
  const filled = fill(withTemplate(spec), { updateStrategy: {}, revisionHistoryLimit: 10 })
  return change(filled, 'updateStrategy', (strategy) => {
    const typed = fill(strategy, { type: 'RollingUpdate' })
    return typed['type'] === 'RollingUpdate'
      ? { ...typed, rollingUpdate: fill(typed['rollingUpdate'], { maxUnavailable: 1, maxSurge: 0 }) }
      : typed
  })
}

const statefulSet: SpecDefaults = (spec) =>
  fill(withTemplate(spec), {
    replicas: 1,
    podManagementPolicy: 'OrderedReady',
    revisionHistoryLimit: 10,
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 0 } },
    persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
  })

const job: SpecDefaults = (spec) => {
  const queue = spec['completions'] === undefined && spec['parallelism'] !== undefined
  return fill(withTemplate(spec), {
    parallelism: 1,
    ...(queue ? {} : { completions: 1 }),
    backoffLimit: 6,
    completionMode: 'NonIndexed',
    suspend: false,
    podReplacementPolicy: 'TerminatingOrFailed',
  })
}

const cronJob: SpecDefaults = (spec) => {
  const filled = fill(spec, {
    concurrencyPolicy: 'Allow',
    suspend: false,
    successfulJobsHistoryLimit: 3,
    failedJobsHistoryLimit: 1,
  })
  return change(filled, 'jobTemplate', (template) =>
    isRecord(template)
      ? change(template, 'spec', (inner) => (isRecord(inner) ? withTemplate(inner) : inner))
      : template,
  )
}

const specDefaults: Readonly<Record<string, SpecDefaults>> = {
  pods: defaultPodSpec,
  podtemplates: withTemplate,
  'deployments.apps': deployment,
  'replicasets.apps': (spec) => fill(withTemplate(spec), { replicas: 1 }),
  'daemonsets.apps': daemonSet,
  'statefulsets.apps': statefulSet,
  'jobs.batch': job,
  'cronjobs.batch': cronJob,
  replicationcontrollers: (spec) => fill(withTemplate(spec), { replicas: 1 }),
  persistentvolumeclaims: (spec) => fill(spec, { volumeMode: 'Filesystem' }),
}

const objectDefaults: Readonly<Record<string, (object: KubeObject) => KubeObject>> = {
  secrets: (object) => fillObject(mergeStringData(object), { type: 'Opaque' }),
  'endpointslices.discovery.k8s.io': (object) => withEach(object, 'ports', { name: '', protocol: 'TCP' }),
  'clusterrolebindings.rbac.authorization.k8s.io': defaultBinding,
  'rolebindings.rbac.authorization.k8s.io': defaultBinding,
  'storageclasses.storage.k8s.io': (object) =>
    fillObject(object, { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' }),
}

/** Pure: the defaults of a built-in kind; an object of any other kind comes back as it is. */
export function defaultObject(resource: string, object: KubeObject): KubeObject {
  const spec = specDefaults[resource]
  const content = object['spec']
  if (spec !== undefined && isRecord(content)) return { ...object, spec: spec(content) }
  return objectDefaults[resource]?.(object) ?? object
}

const fillObject = (object: KubeObject, defaults: Fields): KubeObject => ({
  ...defaults,
  ...object,
})

const withEach = (object: KubeObject, field: string, defaults: Fields): KubeObject => ({
  ...object,
  ...changeEach({ [field]: object[field] }, field, (item) => fill(item, defaults)),
})

/** `stringData` is write-only: it ends up, encoded, in `data`. */
function mergeStringData({ stringData, ...object }: KubeObject): KubeObject {
  if (!isRecord(stringData)) return object
  const encoded = Object.entries(stringData).map(([name, text]) => [
    name,
    Buffer.from(String(text)).toString('base64'),
  ])
  const data = isRecord(object['data']) ? object['data'] : {}
  return { ...object, data: { ...data, ...Object.fromEntries(encoded) } }
}

const rbacGroup = 'rbac.authorization.k8s.io'

function defaultBinding(object: KubeObject): KubeObject {
  const subjects = changeEach({ subjects: object['subjects'] }, 'subjects', (subject) =>
    subject['kind'] === 'ServiceAccount' ? subject : fill(subject, { apiGroup: rbacGroup }),
  )
  return { ...object, ...subjects, roleRef: fill(object['roleRef'], { apiGroup: rbacGroup }) }
}
