/** Who calls, as the API server says from its token. `pod` is missing for tokens that are bound to none. */
export type Caller = Readonly<{
  namespace: string
  serviceAccount: string
  pod?: Readonly<{ name: string; uid: string }>
}>

export type Wanted = Readonly<{ trustDomain: string; namespace: string; serviceAccount: string }>

/** A pod, as far as the rule needs it. */
export type PodFacts = Readonly<{
  uid: string
  namespace: string
  serviceAccount: string
  node: string
  terminal: boolean
}>

export type World = Readonly<{
  trustDomain: string
  /** `namespace/serviceAccount` of the accounts that run node proxies. */
  trustedAccounts: ReadonlySet<string>
  podNamed: (namespace: string, name: string) => PodFacts | undefined
  podsOnNode: (node: string) => readonly PodFacts[]
}>

export type Reason =
  | 'foreign-trust-domain'
  | 'account-not-trusted'
  | 'token-not-pod-bound'
  | 'caller-pod-unknown'
  | 'caller-pod-replaced'
  | 'caller-pod-of-other-account'
  | 'caller-pod-finished'
  | 'caller-pod-not-scheduled'
  | 'identity-not-on-node'
export type Verdict = Readonly<{ verdict: 'allow' }> | Readonly<{ verdict: 'refuse'; reason: Reason }>

const refuse = (reason: Reason): Verdict => ({ verdict: 'refuse', reason })

/** May `caller` be given the identity `wanted`? The node-bound rule (Istio: node_auth.go), and the trust domain too. */
export function mayImpersonate(caller: Caller, wanted: Wanted, world: World): Verdict {
  if (wanted.trustDomain !== world.trustDomain) return refuse('foreign-trust-domain')
  if (!world.trustedAccounts.has(`${caller.namespace}/${caller.serviceAccount}`))
    return refuse('account-not-trusted')
  if (!caller.pod) return refuse('token-not-pod-bound')
  const pod = world.podNamed(caller.namespace, caller.pod.name)
  if (!pod) return refuse('caller-pod-unknown')
  if (pod.uid !== caller.pod.uid) return refuse('caller-pod-replaced')
  if (pod.serviceAccount !== caller.serviceAccount) return refuse('caller-pod-of-other-account')
  if (pod.terminal) return refuse('caller-pod-finished')
  if (pod.node === '') return refuse('caller-pod-not-scheduled')
  const there = world
    .podsOnNode(pod.node)
    .some(
      (p) => !p.terminal && p.namespace === wanted.namespace && p.serviceAccount === wanted.serviceAccount,
    )
  return there ? { verdict: 'allow' } : refuse('identity-not-on-node')
}
