import { isObject, listAt, objectAt, stringAt } from './json.ts'
import type { JsonObject } from './schema.ts'

/**
 * Defaults that depend on other fields of the same object, by definition. Each function edits a fresh copy.
 * Matches Kubernetes' pkg/apis/<group>/<version>/defaults.go and the conversions that act like defaults.
 */
const rules: Readonly<Record<string, (object: JsonObject) => void>> = {
  'io.k8s.api.core.v1.Pod': (pod) => {
    const spec = objectAt(pod, 'spec')
    if (spec) setMissing(spec, { enableServiceLinks: true, preemptionPolicy: 'PreemptLowerPriority' })
  },
  'io.k8s.api.core.v1.PodSpec': podSpec,
  'io.k8s.api.core.v1.Container': container,
  'io.k8s.api.core.v1.EphemeralContainer': container,
  'io.k8s.api.core.v1.Volume': (volume) => {
    if (Object.keys(volume).every((key) => key === 'name')) volume['emptyDir'] = {}
  },
  'io.k8s.api.core.v1.ServiceSpec': serviceSpec,
  'io.k8s.api.core.v1.Secret': secret,
  'io.k8s.api.core.v1.Namespace': (namespace) => {
    const metadata = objectAt(namespace, 'metadata')
    const name = stringAt(metadata, 'name')
    if (!metadata || !name) return
    metadata['labels'] = { ...objectAt(metadata, 'labels'), 'kubernetes.io/metadata.name': name }
  },
  'io.k8s.api.apps.v1.DeploymentStrategy': rollingUpdate,
  'io.k8s.api.apps.v1.DaemonSetUpdateStrategy': rollingUpdate,
  'io.k8s.api.apps.v1.StatefulSetUpdateStrategy': rollingUpdate,
  'io.k8s.api.batch.v1.JobSpec': (spec) => {
    if (spec['completions'] === undefined && spec['parallelism'] === undefined) spec['completions'] = 1
  },
  'io.k8s.api.rbac.v1.Subject': (subject) => {
    const isAccount = subject['kind'] === 'ServiceAccount'
    if (!isAccount) setMissing(subject, { apiGroup: 'rbac.authorization.k8s.io' })
  },
  'io.k8s.api.networking.v1.NetworkPolicySpec': (spec) => {
    const egress = listAt(spec, 'egress').length > 0
    setMissing(spec, { policyTypes: egress ? ['Ingress', 'Egress'] : ['Ingress'] })
  },
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionNames': (names) => {
    const kind = stringAt(names, 'kind')
    if (kind) setMissing(names, { singular: kind.toLowerCase(), listKind: `${kind}List` })
  },
}

export const isDependentDefault = (name: string | undefined): name is string =>
  name !== undefined && Object.hasOwn(rules, name)

export const setDependentDefaults = (name: string, object: JsonObject): void => rules[name]?.(object)

function setMissing(object: JsonObject, values: JsonObject): void {
  for (const [key, value] of Object.entries(values)) if (object[key] === undefined) object[key] = value
}

function rollingUpdate(strategy: JsonObject): void {
  if ((strategy['type'] ?? 'RollingUpdate') === 'RollingUpdate') setMissing(strategy, { rollingUpdate: {} })
}

function podSpec(spec: JsonObject): void {
  // The deprecated alias is kept equal by conversion.
  const account = stringAt(spec, 'serviceAccountName') || stringAt(spec, 'serviceAccount')
  if (account) Object.assign(spec, { serviceAccountName: account, serviceAccount: account })
  if (spec['hostNetwork'] !== true) return
  for (const list of ['containers', 'initContainers'])
    for (const each of listAt(spec, list))
      for (const port of listAt(each, 'ports'))
        if (isObject(port)) setMissing(port, { hostPort: port['containerPort'] })
}

function container(each: JsonObject): void {
  const image = stringAt(each, 'image')
  if (image !== undefined) setMissing(each, { imagePullPolicy: isLatest(image) ? 'Always' : 'IfNotPresent' })
  const limits = objectAt(each, 'resources', 'limits')
  const resources = objectAt(each, 'resources')
  if (limits && resources) resources['requests'] = { ...limits, ...objectAt(resources, 'requests') }
}

/** No tag means latest; a digest means neither. A colon before the last slash is a registry's port. */
function isLatest(image: string): boolean {
  if (image.includes('@')) return false
  const [, tag = 'latest'] = image.slice(image.lastIndexOf('/') + 1).split(':')
  return tag === 'latest'
}

function serviceSpec(spec: JsonObject): void {
  const type = stringAt(spec, 'type') || 'ClusterIP'
  for (const port of listAt(spec, 'ports')) if (isObject(port)) setMissing(port, { targetPort: port['port'] })
  if (spec['sessionAffinity'] === 'ClientIP')
    setMissing(spec, { sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } } })
  if (type !== 'ExternalName') setMissing(spec, { internalTrafficPolicy: 'Cluster' })
  if (type === 'NodePort' || type === 'LoadBalancer') setMissing(spec, { externalTrafficPolicy: 'Cluster' })
  if (type === 'LoadBalancer') setMissing(spec, { allocateLoadBalancerNodePorts: true })
}

/** `stringData` is write-only: it wins over `data` and is never stored. */
function secret(object: JsonObject): void {
  const plain = objectAt(object, 'stringData')
  if (!plain) return
  const encoded: JsonObject = { ...objectAt(object, 'data') }
  for (const [key, value] of Object.entries(plain))
    if (typeof value === 'string') encoded[key] = Buffer.from(value, 'utf8').toString('base64')
  object['data'] = encoded
  delete object['stringData']
}
