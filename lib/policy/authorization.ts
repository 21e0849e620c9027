import type { Brand, Cidr, Ip, SocketAddress } from '#base'
import type { SpiffeId } from '#identity'

/** `namespace/name` of an authorization policy. */
export type PolicyName = Brand<string, 'PolicyName'>

/** How one string is compared; `presence` wants any non-empty string. */
export type TextMatch =
  | Readonly<{ kind: 'exact' | 'prefix' | 'suffix'; value: string }>
  | Readonly<{ kind: 'presence' }>

type ServiceAccount = Readonly<{ namespace: string; serviceAccount: string }>

/** A positive list and its negation; both must hold, an empty list constrains nothing. */
export type Lists<T> = Readonly<{ any: readonly T[]; none: readonly T[] }>

export type MatchFields = Readonly<{
  namespaces: Lists<TextMatch>
  principals: Lists<TextMatch>
  serviceAccounts: Lists<ServiceAccount>
  sourceIps: Lists<Cidr>
  destinationIps: Lists<Cidr>
  destinationPorts: Lists<number>
}>

/** One match. What could not be read is `always` in a DENY and `never` in an ALLOW, so it can only take access away. */
export type Match = 'always' | 'never' | MatchFields

/** Some match of every clause; a clause without matches holds. */
export type Rule = readonly (readonly Match[])[]

/** An L4 policy as it is enforced. */
export type Authorization = Readonly<{
  name: PolicyName
  namespace: string
  scope: 'global' | 'namespace' | 'workload-selector'
  action: 'allow' | 'deny'
  rules: readonly Rule[]
  /** Only reported, never enforced. */
  dryRun: boolean
  /** Only tells of the connections that its rules match (Istio: AUDIT); there only together with `dryRun`. */
  audit?: true
  /** What could not be read and was therefore closed; sent to the control plane in a NACK. */
  problems: readonly string[]
}>

/** The facts about a connection that a policy may ask for. */
export type Connection = Readonly<{
  source: Ip
  /** Authenticated by mTLS; undefined for plaintext. */
  peer: SpiffeId | undefined
  destination: SocketAddress
}>

/** The name of a policy from its parts. */
export const policyName = (namespace: string, name: string): PolicyName =>
  `${namespace}/${name}` as PolicyName
