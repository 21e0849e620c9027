/** Who makes a request, as authentication found it. */
export type User = Readonly<{
  username: string
  uid?: string
  groups: readonly string[]
  extra: Readonly<Record<string, readonly string[]>>
}>

/** Its members may do everything, whatever RBAC says. */
export const mastersGroup = 'system:masters'
const authenticatedGroup = 'system:authenticated'

/** A user who showed a credential: always a member of system:authenticated, each group once. */
export function authenticated(user: User): User {
  return { ...user, groups: [...new Set([...user.groups, authenticatedGroup])] }
}

/** Who shows no credential at all. */
export const anonymous: User = { username: 'system:anonymous', groups: ['system:unauthenticated'], extra: {} }

/** The name that a service account's tokens speak for. */
export const serviceAccountUsername = (namespace: string, name: string): string =>
  `system:serviceaccount:${namespace}:${name}`

/** The groups of every service account of a namespace. */
export const serviceAccountGroups = (namespace: string): readonly string[] => [
  'system:serviceaccounts',
  `system:serviceaccounts:${namespace}`,
]
