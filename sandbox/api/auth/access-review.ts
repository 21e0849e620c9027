import { z } from 'zod'
import { type Attributes, type Authorization, authorize, grants, type RbacSource } from './rbac.ts'
import { authenticated, type User } from './user.ts'

const text = z.string().optional()
const ReviewSpec = z.object({
  resourceAttributes: z
    .object({ verb: text, group: text, resource: text, subresource: text, namespace: text, name: text })
    .optional(),
  nonResourceAttributes: z.object({ verb: text, path: text }).optional(),
})
const SubjectSpec = ReviewSpec.extend({
  user: text,
  uid: text,
  groups: z.array(z.string()).optional(),
  extra: z.record(z.string(), z.array(z.string())).optional(),
})

/** What a review asks about; undefined when it names neither a resource nor a path, or both. */
function reviewedAttributes(spec: z.infer<typeof ReviewSpec>): Attributes | undefined {
  const { resourceAttributes: r, nonResourceAttributes: p } = spec
  if (!r === !p) return undefined
  if (p) return { verb: p.verb ?? '', path: p.path ?? '' }
  if (!r) return undefined
  const { verb = '', group = '', resource = '', subresource, namespace, name } = r
  return { verb, group, resource, subresource, namespace, name }
}

/** `status` of a SelfSubjectAccessReview, or why the spec is invalid (422). */
export function selfSubjectAccessReview(
  user: User,
  spec: unknown,
  rbac: RbacSource,
): Authorization | { reject: string } {
  const parsed = ReviewSpec.safeParse(spec)
  if (!parsed.success) return { reject: `spec: Invalid value: ${z.prettifyError(parsed.error)}` }
  const attributes = reviewedAttributes(parsed.data)
  if (!attributes)
    return {
      reject:
        'spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified',
    }
  return authorize(user, attributes, rbac)
}

/** `status` of a SubjectAccessReview, or why the spec is invalid (422). */
export function subjectAccessReview(spec: unknown, rbac: RbacSource): Authorization | { reject: string } {
  const parsed = SubjectSpec.safeParse(spec)
  if (!parsed.success) return { reject: `spec: Invalid value: ${z.prettifyError(parsed.error)}` }
  const { user = '', uid, groups = [], extra = {} } = parsed.data
  if (user === '' && groups.length === 0)
    return { reject: 'spec.user: Invalid value: "": at least one of user or group must be specified' }
  const subject: User = { username: user, groups, extra, ...(uid !== undefined && { uid }) }
  return selfSubjectAccessReview(subject, spec, rbac)
}

/** `status` of a SelfSubjectRulesReview: all that `user` may do in a namespace. */
export function rulesReview(user: User, namespace: string, rbac: RbacSource): object {
  const all = { verbs: ['*'], apiGroups: ['*'], resources: ['*'], resourceNames: [], nonResourceURLs: ['*'] }
  const rules = user.groups.includes('system:masters')
    ? [all]
    : [...grants(user, namespace, rbac)].flatMap((grant) => grant.rules)
  return {
    incomplete: false,
    resourceRules: rules
      .filter(({ resources }) => resources.length > 0)
      .map(({ verbs, apiGroups, resources, resourceNames }) => ({
        verbs,
        apiGroups,
        resources,
        ...(resourceNames.length > 0 && { resourceNames }),
      })),
    nonResourceRules: rules
      .filter(({ nonResourceURLs }) => nonResourceURLs.length > 0)
      .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
  }
}

/** UserInfo as SelfSubjectReview and TokenReview show it. */
export const userInfo = ({ username, uid, groups, extra }: User): object => ({
  username,
  ...(uid !== undefined && { uid }),
  groups,
  ...(Object.keys(extra).length > 0 && { extra }),
})

/** Whom the Impersonate-* headers of a request name, before it is known whether that is allowed. */
export type Impersonation =
  | Readonly<{ kind: 'none' }>
  | Readonly<{ kind: 'as'; user: User; needs: readonly Attributes[] }>
  | Readonly<{ kind: 'reject'; reason: string }>

const valuesOf = (value: string | readonly string[] | undefined): readonly string[] =>
  value === undefined ? [] : typeof value === 'string' ? value.split(',').map((part) => part.trim()) : value

/** `kubectl --as`: the user asked for, and what the real user must be allowed to do first. */
export function impersonation(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): Impersonation {
  const [username] = valuesOf(headers['impersonate-user'])
  const groups = valuesOf(headers['impersonate-group'])
  const extras = Object.keys(headers).some((name) => name.startsWith('impersonate-extra-'))
  if (extras || headers['impersonate-uid'] !== undefined)
    return { kind: 'reject', reason: 'this server impersonates users and groups only, without uid or extra' }
  if (!username)
    return groups.length > 0
      ? { kind: 'reject', reason: 'requested groups without a user to impersonate' }
      : { kind: 'none' }
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username)
  const verb = 'impersonate'
  const who: Attributes = account
    ? { verb, group: '', resource: 'serviceaccounts', namespace: account[1], name: account[2] }
    : { verb, group: '', resource: 'users', name: username }
  const member = groups.map((name): Attributes => ({ verb, group: '', resource: 'groups', name }))
  const own =
    account && groups.length === 0
      ? ['system:serviceaccounts', `system:serviceaccounts:${account[1]}`]
      : groups
  return { kind: 'as', user: authenticated({ username, groups: own, extra: {} }), needs: [who, ...member] }
}
