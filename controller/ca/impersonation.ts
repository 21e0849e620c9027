/** Who calls, as the API server says from its token. `pod` is missing for tokens that are bound to none. */
export type Caller = Readonly<{
  namespace: string
  serviceAccount: string
  pod?: Readonly<{ name: string; uid: string }>
}>

type Wanted = Readonly<{ trustDomain: string; namespace: string; serviceAccount: string }>

/** A pod, as far as the rule needs it. */
export type PodFacts = Readonly<{
  uid: string
  namespace: string
  serviceAccount: string
  node: string
  terminal: boolean
}>

/** The pods and accounts that the rule is about. */
export type World = Readonly<{
  trustDomain: string
  /** `namespace/serviceAccount` of the accounts that run node proxies. */
  trustedAccounts: ReadonlySet<string>
  podNamed: (namespace: string, name: string) => PodFacts | undefined
  podsOnNode: (node: string) => readonly PodFacts[]
  /** The pods of a node from the API server itself, where what we have heard of them may be too old. */
  recheck: (node: string) => Promise<Recheck>
}>

/** What the API server says of a node's pods, asked now. */
export type Recheck =
  | Readonly<{ kind: 'not-needed' }>
  | Readonly<{ kind: 'asked'; pods: readonly PodFacts[] }>
  | Readonly<{ kind: 'unreachable'; why: string }>

/** Why a certificate is refused; for the log, a caller is not told. */
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
  | 'pods-not-confirmed'
/** `node`: where both the caller and a pod of that identity are. */
export type Verdict =
  | Readonly<{ verdict: 'allow'; node: string }>
  | Readonly<{ verdict: 'refuse'; reason: Reason }>

/** What an operator should look at; for our log, never for the caller. */
export const hints: Readonly<Record<Reason, string>> = {
  'foreign-trust-domain': 'the caller believes in another trust domain; compare meshConfig.trustDomain',
  'account-not-trusted': 'only accounts in CA_TRUSTED_NODE_ACCOUNTS may ask for identities of others',
  'token-not-pod-bound':
    'mount a projected token with audience istio-ca; Secrets of service accounts do not do',
  'caller-pod-unknown': 'usual within a second of its start; later: is the watch of pods interrupted?',
  'caller-pod-replaced': 'a token of an earlier pod of that name is still in use, or was taken from it',
  'caller-pod-of-other-account': 'the token does not fit its pod: treat it as stolen',
  'caller-pod-finished': 'a token is used after its pod has ended: treat it as stolen if this goes on',
  'caller-pod-not-scheduled': 'a token is used before its pod is on a node',
  'identity-not-on-node':
    'no running pod of that identity is on the node; usual within a second of a pod’s start or end, else suspicious',
  'pods-not-confirmed':
    'nothing has been heard of pods for a while and the API server does not say which are left; look at it and at our way to it',
}

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
  return isThere(wanted, world.podsOnNode(pod.node))
    ? { verdict: 'allow', node: pod.node }
    : refuse('identity-not-on-node')
}

const isThere = (wanted: Wanted, pods: readonly PodFacts[]): boolean =>
  pods.some(
    (p) => !p.terminal && p.namespace === wanted.namespace && p.serviceAccount === wanted.serviceAccount,
  )

/** The same, when the watch of pods may be behind: on what the API server says, and not at all when it is silent. */
export function afterRecheck(caller: Caller, wanted: Wanted, node: string, recheck: Recheck): Verdict {
  if (recheck.kind === 'not-needed') return { verdict: 'allow', node }
  if (recheck.kind === 'unreachable') return refuse('pods-not-confirmed')
  const own = recheck.pods.find(({ uid }) => uid === caller.pod?.uid)
  if (own === undefined) return refuse('caller-pod-unknown')
  if (own.terminal) return refuse('caller-pod-finished')
  return isThere(wanted, recheck.pods) ? { verdict: 'allow', node } : refuse('identity-not-on-node')
}
