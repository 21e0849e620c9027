import { isRecord } from '#base'
import { type Api, subjectOf, type Target } from '../rest/api.ts'
import { randomSuffix } from '../rest/names.ts'
import { type KubeObject, listAt, recordAt, sameJson, textAt, withMetadata } from '../rest/object.ts'
import { type Cause, forbidden, invalid, notFound, type Refusal, refuse } from '../rest/refusal.ts'
import { admitCrd } from './crd.ts'
import { admitServiceAccount, initialPodStatus } from './pod.ts'
import { allocateService, servicePool } from './service.ts'

export { crdFinalizer } from './crd.ts'

/** An object as it is stored, and what its writer is told. */
export type Admitted = Readonly<{ object: KubeObject; warnings: readonly string[] }>
type Admit = (api: Api, target: Target, draft: KubeObject, live: KubeObject | undefined) => Admitted | Refusal

/** What happens to an object between its patch or body and the store, apart from its schema. */
export function admit(
  api: Api,
  target: Target,
  object: KubeObject,
  live: KubeObject | undefined,
): Admitted | Refusal {
  const fault = live === undefined ? namespaceFault(api, target, object) : changeFault(target, object, live)
  if (fault !== undefined) return fault
  return admissions[target.resource]?.(api, target, object, live) ?? { object, warnings: [] }
}

const admissions: Readonly<Record<string, Admit>> = {
  pods: admitPod,
  services: admitService,
  namespaces: (_api, _target, draft, live) => ({ object: admitNamespace(draft, live), warnings: [] }),
  'customresourcedefinitions.apiextensions.k8s.io': (api, { kind }, draft) => {
    const admitted = admitCrd(draft, api.now())
    return admitted.ok ? admitted : invalid(kind, draft.metadata.name ?? '', admitted.causes)
  },
  'jobs.batch': (_api, _target, draft, live) => ({
    object: live === undefined ? admitJob(draft) : draft,
    warnings: [],
  }),
  'mutatingwebhookconfigurations.admissionregistration.k8s.io': storedOnly,
  'validatingadmissionpolicies.admissionregistration.k8s.io': storedOnly,
  'validatingadmissionpolicybindings.admissionregistration.k8s.io': storedOnly,
}

function storedOnly(_api: Api, { kind }: Target, draft: KubeObject): Admitted {
  return { object: draft, warnings: [`${kind.kind} is stored but not enforced by this server`] }
}

/** Namespaced content needs a living namespace (Kubernetes: NamespaceLifecycle). */
function namespaceFault(api: Api, target: Target, object: KubeObject): Refusal | undefined {
  if (!target.kind.namespaced) return undefined
  const name = object.metadata.namespace ?? ''
  const namespace = api.store.get('namespaces', '', name)
  if (namespace === undefined) return notFound({ group: '', plural: 'namespaces', name })
  if (namespace.metadata.deletionTimestamp === undefined) return undefined
  const message = `unable to create new content in namespace ${name} because it is being terminated`
  const no = forbidden({ ...subjectOf(target), name: object.metadata.name }, message)
  return refuse(403, 'Forbidden', no.message, {
    ...no.details,
    causes: [
      {
        reason: 'NamespaceTerminating',
        message: `namespace ${name} is being terminated`,
        field: 'metadata.namespace',
      },
    ],
  })
}

/** Fields that may never change, by resource; `prepare` knows the schema's own immutable ones. */
const immutable: Readonly<Record<string, readonly (readonly string[])[]>> = {
  'deployments.apps': [['spec', 'selector']],
  'replicasets.apps': [['spec', 'selector']],
  'daemonsets.apps': [['spec', 'selector']],
  'statefulsets.apps': [
    ['spec', 'selector'],
    ['spec', 'serviceName'],
  ],
  'jobs.batch': [
    ['spec', 'selector'],
    ['spec', 'completionMode'],
  ],
  secrets: [['type']],
  'clusterrolebindings.rbac.authorization.k8s.io': [['roleRef']],
  'rolebindings.rbac.authorization.k8s.io': [['roleRef']],
}

function changeFault({ resource, kind }: Target, object: KubeObject, live: KubeObject): Refusal | undefined {
  const causes: Cause[] = []
  for (const path of immutable[resource] ?? []) {
    const [before, after] = [live, object].map((value) =>
      path.reduce<unknown>((here, f) => recordAt({ here }, 'here')[f], value),
    )
    if (before !== undefined && !sameJson(before, after))
      causes.push({
        reason: 'FieldValueInvalid',
        field: path.join('.'),
        message: `Invalid value: ${JSON.stringify(after)}: field is immutable`,
      })
  }
  const frozen = live['immutable'] === true && (resource === 'secrets' || resource === 'configmaps')
  if (frozen && !['data', 'binaryData', 'immutable'].every((field) => sameJson(live[field], object[field])))
    causes.push({
      reason: 'FieldValueForbidden',
      field: 'data',
      message: 'Forbidden: field is immutable when `immutable` is set',
    })
  if (resource === 'pods' && !sameJson(fixedPodSpec(live), fixedPodSpec(object)))
    causes.push({
      reason: 'FieldValueForbidden',
      field: 'spec',
      message:
        'Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
    })
  return causes.length === 0 ? undefined : invalid(kind, object.metadata.name ?? '', causes)
}

/** What of a pod's spec may not change. */
function fixedPodSpec(pod: KubeObject): unknown {
  const { activeDeadlineSeconds: _a, tolerations: _b, schedulingGates: _c, ...spec } = recordAt(pod, 'spec')
  const imageless = (field: string) =>
    listAt(spec, field).map((container) => (isRecord(container) ? { ...container, image: '' } : container))
  return { ...spec, containers: imageless('containers'), initContainers: imageless('initContainers') }
}

function admitPod(
  api: Api,
  target: Target,
  draft: KubeObject,
  live: KubeObject | undefined,
): Admitted | Refusal {
  if (live !== undefined) return { object: draft, warnings: [] }
  const name = textAt(draft, 'spec', 'serviceAccountName') || 'default'
  const { namespace = '' } = draft.metadata
  const account = api.store.get('serviceaccounts', namespace, name)
  if (account === undefined)
    return forbidden(
      { ...subjectOf(target), name: draft.metadata.name },
      `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`,
    )
  const object = admitServiceAccount(draft, account, randomSuffix(api.random))
  return { object: withPriority(api, { ...object, status: initialPodStatus(object) }), warnings: [] }
}

/** A pod's priority is its class's; an unknown class is left to the scheduler, which ignores it. */
function withPriority(api: Api, pod: KubeObject): KubeObject {
  const name = textAt(pod, 'spec', 'priorityClassName')
  if (name === undefined || name === '') return { ...pod, spec: { ...recordAt(pod, 'spec'), priority: 0 } }
  const found = api.store.get('priorityclasses.scheduling.k8s.io', '', name)
  return found === undefined ? pod : { ...pod, spec: { ...recordAt(pod, 'spec'), priority: found['value'] } }
}

function admitService(
  api: Api,
  { kind }: Target,
  draft: KubeObject,
  live: KubeObject | undefined,
): Admitted | Refusal {
  const { serviceCidrs: cidrs, apiServiceIp, dnsServiceIp, dnsServiceIpv6 } = api.config
  const reservedIps = new Map([
    [apiServiceIp, 'default/kubernetes'],
    [dnsServiceIp, 'kube-system/kube-dns'],
    [dnsServiceIpv6, 'kube-system/kube-dns'],
  ])
  const pool = servicePool(api.store.list('services'), { cidrs, reservedIps, random: api.random })
  const allocated = allocateService(draft, live, pool)
  if (!allocated.ok) return invalid(kind, draft.metadata.name ?? '', allocated.causes)
  const status = {
    status:
      recordAt(allocated.object, 'status')['loadBalancer'] === undefined
        ? { loadBalancer: {} }
        : allocated.object['status'],
  }
  return { object: { ...allocated.object, ...status }, warnings: [] }
}

const nameLabel = 'kubernetes.io/metadata.name'

function admitNamespace(draft: KubeObject, live: KubeObject | undefined): KubeObject {
  const labels = { ...draft.metadata.labels, [nameLabel]: draft.metadata.name ?? '' }
  const labelled = withMetadata(draft, { labels })
  // Only the finalize subresource changes a namespace's own finalizers.
  if (live !== undefined) return { ...labelled, spec: live['spec'] }
  return { ...labelled, spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } }
}

/** A job without a selector of its own gets one by its uid, on its template too. */
function admitJob(job: KubeObject): KubeObject {
  const spec = recordAt(job, 'spec')
  if (spec['selector'] !== undefined || spec['manualSelector'] === true) return job
  const { uid = '', name = '' } = job.metadata
  const own = { 'batch.kubernetes.io/controller-uid': uid }
  const labels = {
    ...recordAt(spec, 'template', 'metadata', 'labels'),
    ...own,
    'batch.kubernetes.io/job-name': name,
    'controller-uid': uid,
    'job-name': name,
  }
  const template = recordAt(spec, 'template')
  const metadata = { ...recordAt(template, 'metadata'), labels }
  return { ...job, spec: { ...spec, selector: { matchLabels: own }, template: { ...template, metadata } } }
}
