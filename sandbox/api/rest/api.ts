import type { IncomingHttpHeaders } from 'node:http'
import type { Logger } from '#telemetry'
import type { SandboxConfig } from '../../config.ts'
import type { Authenticator, RbacSource, UidLookup, User } from '../auth/index.ts'
import type { Store } from '../store/index.ts'
import type { KindType } from '../types/index.ts'
import { type Kinds, resourceOf } from './kinds.ts'
import type { Refusal, Subject } from './refusal.ts'

/** All that the handlers of requests stand on. */
export type Api = Readonly<{
  config: SandboxConfig
  store: Store
  kinds: Kinds
  authenticator: Authenticator
  rbac: RbacSource
  log: Logger
  /** Milliseconds since 1970; injected by tests. */
  now: () => number
  random: () => number
}>

/** One request, authenticated, its body read. */
export type ApiRequest = Readonly<{
  method: string
  path: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  user: User
  body: Buffer
}>

/** The resource that a request names, found among the served kinds. */
export type Target = Readonly<{
  kind: KindType
  resource: string
  namespace: string | undefined
  name: string | undefined
  subresource: string | undefined
}>

/** What is answered: an object or a document with its status, or a refusal. */
type Reply = Readonly<{
  code: number
  body: unknown
  warnings?: readonly string[]
  contentType?: string
}>
export type Answer = Reply | Refusal

/** What a refusal about `target` names. */
export const subjectOf = ({ kind, name }: Pick<Target, 'kind' | 'name'>): Subject => ({
  group: kind.group,
  plural: kind.plural,
  name,
})

const rbac = 'rbac.authorization.k8s.io'

/** RBAC as it is stored now. */
export const rbacOf = (store: Store): RbacSource => ({
  clusterRoles: () => store.list(`clusterroles.${rbac}`),
  clusterRoleBindings: () => store.list(`clusterrolebindings.${rbac}`),
  roles: (namespace) => store.list(`roles.${rbac}`, namespace),
  roleBindings: (namespace) => store.list(`rolebindings.${rbac}`, namespace),
})

const lookupResources = {
  ServiceAccount: 'serviceaccounts',
  Pod: 'pods',
  Secret: 'secrets',
  Node: 'nodes',
} as const

/** The uid of what a token is bound to; an object that is being deleted counts as long as it is there. */
export const uidLookup =
  (store: Store): UidLookup =>
  (kind, namespace, name) =>
    store.get(lookupResources[kind], namespace ?? '', name)?.metadata.uid

/** The target that a stored object itself is. */
export const targetOf = (
  kind: KindType,
  namespace: string | undefined,
  name: string | undefined,
): Target => ({ kind, resource: resourceOf(kind), namespace, name, subresource: undefined })
