import { at, isObject, listAt, objectAt, stringAt } from './json.ts'
import { configKeyError, labelNameError } from './names.ts'
import { checkPodSpec, checkTemplate } from './pod-rules.ts'
import {
  type Causes,
  checkImmutable,
  checkLabels,
  checkName,
  checkPort,
  checkSelector,
  duplicate,
  forbidden,
  invalid,
  required,
  selectorMatches,
} from './rules.ts'
import type { JsonObject, KindType } from './schema.ts'

type Rule = (causes: Causes, object: JsonObject, old: JsonObject | undefined) => void

/** What the schema of a built-in kind cannot say, for the kinds that a mesh and its users touch. */
const rules: Readonly<Record<string, Rule>> = {
  '/Pod': pod,
  '/Service': service,
  '/ConfigMap': (causes, object) => {
    for (const field of ['data', 'binaryData'])
      for (const key of Object.keys(objectAt(object, field) ?? {}))
        checkName(causes, `${field}[${key}]`, key, configKeyError)
    for (const key of Object.keys(objectAt(object, 'binaryData') ?? {}))
      if (objectAt(object, 'data') && Object.hasOwn(objectAt(object, 'data') ?? {}, key))
        duplicate(causes, `binaryData[${key}]`, key)
  },
  '/Secret': (causes, object, old) => {
    for (const key of Object.keys(objectAt(object, 'data') ?? {}))
      checkName(causes, `data[${key}]`, key, configKeyError)
    checkImmutable(causes, 'type', ['type'], object, old)
  },
  'apps/Deployment': workload,
  'apps/ReplicaSet': workload,
  'apps/DaemonSet': workload,
  'apps/StatefulSet': workload,
  '/ReplicationController': (causes, object) => {
    checkReplicas(causes, object)
    checkTemplate(causes, 'spec.template', at(object, 'spec', 'template'))
  },
  'batch/Job': (causes, object) => checkTemplate(causes, 'spec.template', at(object, 'spec', 'template')),
  'rbac.authorization.k8s.io/Role': rolesRules,
  'rbac.authorization.k8s.io/ClusterRole': rolesRules,
  'rbac.authorization.k8s.io/RoleBinding': binding,
  'rbac.authorization.k8s.io/ClusterRoleBinding': binding,
  'discovery.k8s.io/EndpointSlice': (causes, object, old) => {
    checkImmutable(causes, 'addressType', ['addressType'], object, old)
    listAt(object, 'endpoints').forEach((endpoint, i) => {
      if (listAt(endpoint, 'addresses').length === 0)
        required(causes, `endpoints[${i}].addresses`, 'must contain at least 1 address')
    })
  },
  'networking.k8s.io/NetworkPolicy': (causes, object) =>
    checkSelector(causes, 'spec.podSelector', objectAt(object, 'spec', 'podSelector')),
}

/** Checks a built-in object that already has the right shape. */
export function checkBuiltin(kind: KindType, object: JsonObject, old: JsonObject | undefined): Causes {
  const key = `${kind.group}/${kind.kind}`
  const causes: Causes = []
  if (Object.hasOwn(rules, key)) rules[key]?.(causes, object, old)
  return causes
}

/** Of a running pod only these may change (Kubernetes: ValidatePodUpdate); scheduling gates and grace are left out. */
const MUTABLE_POD_FIELDS = [
  'activeDeadlineSeconds',
  'tolerations',
  'schedulingGates',
  'terminationGracePeriodSeconds',
]

function pod(causes: Causes, object: JsonObject, old: JsonObject | undefined): void {
  if (!objectAt(object, 'spec')) return required(causes, 'spec.containers')
  checkPodSpec(causes, 'spec', object['spec'])
  if (!old) return
  const isBound = stringAt(old, 'spec', 'nodeName') !== undefined
  const rest = (whole: JsonObject): JsonObject => ({
    spec: fixedPart(objectAt(whole, 'spec') ?? {}, isBound),
  })
  const before: Causes = []
  checkImmutable(before, 'spec', ['spec'], rest(object), rest(old))
  if (before.length > 0)
    forbidden(
      causes,
      'spec',
      'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,' +
        '`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),' +
        '`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
    )
}

function fixedPart(spec: JsonObject, isBound: boolean): JsonObject {
  const fixed: JsonObject = {}
  for (const key of Object.keys(spec)) if (!MUTABLE_POD_FIELDS.includes(key)) fixed[key] = spec[key]
  // The binding sets the node's name, once.
  if (!isBound) delete fixed['nodeName']
  for (const list of ['containers', 'initContainers', 'ephemeralContainers'])
    if (fixed[list])
      fixed[list] = listAt(spec, list).map((each) => (isObject(each) ? { ...each, image: '' } : each))
  return fixed
}

function service(causes: Causes, object: JsonObject): void {
  const spec = objectAt(object, 'spec') ?? {}
  const ports = listAt(spec, 'ports')
  const isExternal = spec['type'] === 'ExternalName'
  if (isExternal && !stringAt(spec, 'externalName')) required(causes, 'spec.externalName')
  if (ports.length === 0 && !isExternal && spec['clusterIP'] !== 'None') required(causes, 'spec.ports')
  checkLabels(causes, 'spec.selector', objectAt(spec, 'selector'))
  const names = new Set<string>()
  const numbers = new Set<string>()
  ports.forEach((port, i) => {
    const path = `spec.ports[${i}]`
    const name = stringAt(port, 'name') ?? ''
    if (ports.length > 1 && name === '') required(causes, `${path}.name`)
    checkName(causes, `${path}.name`, name, labelNameError)
    if (name && names.has(name)) duplicate(causes, `${path}.name`, name)
    names.add(name)
    checkPort(causes, `${path}.port`, at(port, 'port'))
    const target = at(port, 'targetPort')
    if (typeof target === 'number') checkPort(causes, `${path}.targetPort`, target)
    const number = `${stringAt(port, 'protocol')}/${String(at(port, 'port'))}`
    if (numbers.has(number))
      duplicate(causes, path, { protocol: at(port, 'protocol'), port: at(port, 'port') })
    numbers.add(number)
  })
}

function checkReplicas(causes: Causes, object: JsonObject): void {
  const replicas = at(object, 'spec', 'replicas')
  if (typeof replicas === 'number' && replicas < 0)
    invalid(causes, 'spec.replicas', replicas, 'must be greater than or equal to 0')
}

function workload(causes: Causes, object: JsonObject, old: JsonObject | undefined): void {
  checkReplicas(causes, object)
  const selector = objectAt(object, 'spec', 'selector')
  const template = objectAt(object, 'spec', 'template')
  checkSelector(causes, 'spec.selector', selector)
  checkTemplate(causes, 'spec.template', template)
  if (selector && Object.keys(selector).length === 0)
    invalid(causes, 'spec.selector', selector, 'empty selector is invalid for deployment')
  const labels = objectAt(template, 'metadata', 'labels')
  if (selector && template && !selectorMatches(selector, labels))
    invalid(
      causes,
      'spec.template.metadata.labels',
      labels ?? null,
      '`selector` does not match template `labels`',
    )
  checkImmutable(causes, 'spec.selector', ['spec', 'selector'], object, old)
  const restart = at(template, 'spec', 'restartPolicy')
  if (restart !== undefined && restart !== 'Always')
    causes.push({
      field: 'spec.template.spec.restartPolicy',
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(restart)}: supported values: "Always"`,
    })
}

function rolesRules(causes: Causes, object: JsonObject): void {
  listAt(object, 'rules').forEach((rule, i) => {
    if (listAt(rule, 'verbs').length === 0)
      required(causes, `rules[${i}].verbs`, 'verbs must contain at least one value')
    const urls = listAt(rule, 'nonResourceURLs').length
    if (urls > 0) return
    if (listAt(rule, 'apiGroups').length === 0)
      required(causes, `rules[${i}].apiGroups`, 'resource rules must supply at least one api group')
    if (listAt(rule, 'resources').length === 0)
      required(causes, `rules[${i}].resources`, 'resource rules must supply at least one resource')
  })
}

function binding(causes: Causes, object: JsonObject, old: JsonObject | undefined): void {
  if (!stringAt(object, 'roleRef', 'name')) required(causes, 'roleRef.name')
  if (old) {
    const changed: Causes = []
    checkImmutable(changed, 'roleRef', ['roleRef'], object, old)
    if (changed.length > 0) invalid(causes, 'roleRef', object['roleRef'], 'cannot change roleRef')
  }
  listAt(object, 'subjects').forEach((subject, i) => {
    const kind = stringAt(subject, 'kind')
    if (kind && !['ServiceAccount', 'User', 'Group'].includes(kind))
      causes.push({
        field: `subjects[${i}].kind`,
        reason: 'FieldValueNotSupported',
        message: `Unsupported value: "${kind}": supported values: "ServiceAccount", "User", "Group"`,
      })
    if (kind === 'ServiceAccount' && !stringAt(subject, 'namespace'))
      required(causes, `subjects[${i}].namespace`)
  })
}
