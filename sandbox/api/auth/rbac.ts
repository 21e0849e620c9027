import { isRecord } from '#base'
import { mastersGroup, type User } from './user.ts'

/** What a request does: to a resource, or to a path that is none. */
export type Attributes =
  | Readonly<{
      verb: string
      group: string
      resource: string
      subresource?: string | undefined
      namespace?: string | undefined
      name?: string | undefined
    }>
  | Readonly<{ verb: string; path: string }>

/** The RBAC objects as stored; asked anew for each decision, so a change counts at once. */
export type RbacSource = Readonly<{
  clusterRoles(): readonly object[]
  clusterRoleBindings(): readonly object[]
  roles(namespace: string): readonly object[]
  roleBindings(namespace: string): readonly object[]
}>

/** The answer, with the binding that gave it. */
export type Authorization = Readonly<{ allowed: boolean; reason: string }>

/** One rule of a role; an absent list matches nothing. */
type Rule = Readonly<{
  verbs: readonly string[]
  apiGroups: readonly string[]
  resources: readonly string[]
  resourceNames: readonly string[]
  nonResourceURLs: readonly string[]
}>
/** The rules that one binding gives to a user. */
type Grant = Readonly<{ binding: string; rules: readonly Rule[] }>

const strings = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []
const records = (value: unknown) => (Array.isArray(value) ? value.filter(isRecord) : [])
const field = (object: unknown, name: string): unknown => (isRecord(object) ? object[name] : undefined)
const text = (value: unknown): string => (typeof value === 'string' ? value : '')
const nameOf = (object: object) => text(field(field(object, 'metadata'), 'name'))

const parseRule = (rule: Record<string, unknown>): Rule => ({
  verbs: strings(rule['verbs']),
  apiGroups: strings(rule['apiGroups']),
  resources: strings(rule['resources']),
  resourceNames: strings(rule['resourceNames']),
  nonResourceURLs: strings(rule['nonResourceURLs']),
})

/** May `user` do this? Members of system:masters may do everything; else some bound rule must match. */
export function authorize(user: User, attributes: Attributes, rbac: RbacSource): Authorization {
  if (user.groups.includes(mastersGroup)) return { allowed: true, reason: `member of ${mastersGroup}` }
  const namespace = 'path' in attributes ? undefined : attributes.namespace
  for (const { binding, rules } of grants(user, namespace, rbac))
    if (rules.some((rule) => allows(rule, attributes)))
      return { allowed: true, reason: `RBAC: allowed by ${binding}` }
  return { allowed: false, reason: '' }
}

/** Everything bound to `user`: cluster-wide, and in `namespace` when there is one. */
export function* grants(user: User, namespace: string | undefined, rbac: RbacSource): Generator<Grant> {
  for (const binding of rbac.clusterRoleBindings()) {
    const subject = boundSubject(binding, user, undefined)
    if (subject) yield grantOf('ClusterRoleBinding', binding, subject, clusterRules(binding, rbac))
  }
  if (!namespace) return
  for (const binding of rbac.roleBindings(namespace)) {
    const subject = boundSubject(binding, user, namespace)
    if (subject) yield grantOf('RoleBinding', binding, subject, namespacedRules(binding, namespace, rbac))
  }
}

function grantOf(
  kind: string,
  binding: object,
  subject: Record<string, unknown>,
  rules: readonly Rule[],
): Grant {
  const ref = field(binding, 'roleRef')
  return {
    binding: `${kind} "${nameOf(binding)}" of ${text(field(ref, 'kind'))} "${text(field(ref, 'name'))}" to ${text(subject['kind'])} "${text(subject['name'])}"`,
    rules,
  }
}

const boundSubject = (binding: object, user: User, namespace: string | undefined) =>
  records(field(binding, 'subjects')).find((subject) => isSubject(subject, user, namespace))

function isSubject(subject: Record<string, unknown>, user: User, namespace: string | undefined): boolean {
  const name = text(subject['name'])
  switch (subject['kind']) {
    case 'User':
      return user.username === name
    case 'Group':
      return user.groups.includes(name)
    case 'ServiceAccount': {
      const at = text(subject['namespace']) || namespace
      return at !== undefined && user.username === `system:serviceaccount:${at}:${name}`
    }
    default:
      return false
  }
}

function clusterRules(binding: object, rbac: RbacSource): readonly Rule[] {
  const name = text(field(field(binding, 'roleRef'), 'name'))
  const role = rbac.clusterRoles().find((candidate) => nameOf(candidate) === name)
  return role ? rulesOf(role, rbac, new Set()) : []
}

function namespacedRules(binding: object, namespace: string, rbac: RbacSource): readonly Rule[] {
  const ref = field(binding, 'roleRef')
  if (field(ref, 'kind') === 'ClusterRole') return clusterRules(binding, rbac)
  const role = rbac.roles(namespace).find((candidate) => nameOf(candidate) === text(field(ref, 'name')))
  return records(field(role, 'rules')).map(parseRule)
}

/** A role's rules; those of an aggregated role are the rules of all roles that its selectors choose. */
function rulesOf(role: object, rbac: RbacSource, seen: Set<string>): readonly Rule[] {
  if (seen.has(nameOf(role))) return []
  seen.add(nameOf(role))
  const selectors = records(field(field(role, 'aggregationRule'), 'clusterRoleSelectors'))
  if (selectors.length === 0) return records(field(role, 'rules')).map(parseRule)
  return rbac
    .clusterRoles()
    .filter((candidate) => selectors.some((selector) => selects(selector, candidate)))
    .flatMap((candidate) => rulesOf(candidate, rbac, seen))
}

function selects(selector: Record<string, unknown>, role: object): boolean {
  const labels = field(field(role, 'metadata'), 'labels')
  const wanted = selector['matchLabels']
  const equal =
    !isRecord(wanted) || Object.entries(wanted).every(([key, value]) => field(labels, key) === value)
  return equal && records(selector['matchExpressions']).every((expression) => holds(expression, labels))
}

function holds(expression: Record<string, unknown>, labels: unknown): boolean {
  const value = field(labels, text(expression['key']))
  const listed = typeof value === 'string' && strings(expression['values']).includes(value)
  switch (expression['operator']) {
    case 'In':
      return listed
    case 'NotIn':
      return !listed
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    default:
      return false
  }
}

const has = (list: readonly string[], value: string) => list.includes('*') || list.includes(value)

function allows(rule: Rule, attributes: Attributes): boolean {
  if (!has(rule.verbs, attributes.verb)) return false
  if ('path' in attributes) return rule.nonResourceURLs.some((url) => pathMatches(url, attributes.path))
  const { group, resource, subresource, name } = attributes
  if (!has(rule.apiGroups, group)) return false
  if (!resourceMatches(rule.resources, resource, subresource)) return false
  return rule.resourceNames.length === 0 || (!!name && rule.resourceNames.includes(name))
}

const resourceMatches = (resources: readonly string[], resource: string, subresource: string | undefined) =>
  subresource
    ? has(resources, `${resource}/${subresource}`) || resources.includes(`*/${subresource}`)
    : has(resources, resource)

const pathMatches = (url: string, path: string) =>
  url.endsWith('*') ? path.startsWith(url.slice(0, -1)) : url === path

/** The message of a 403, in the API server's words. */
export function forbiddenMessage(user: User, attributes: Attributes): string {
  if ('path' in attributes)
    return `forbidden: User "${user.username}" cannot ${attributes.verb} path "${attributes.path}"`
  const { verb, group, resource, subresource, namespace, name } = attributes
  const full = subresource ? `${resource}/${subresource}` : resource
  const qualified = group ? `${resource}.${group}` : resource
  const which = name ? `${qualified} "${name}"` : qualified
  const where = namespace ? `in the namespace "${namespace}"` : 'at the cluster scope'
  return `${which} is forbidden: User "${user.username}" cannot ${verb} resource "${full}" in API group "${group}" ${where}`
}
