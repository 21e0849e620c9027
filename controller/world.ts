import type { Collection, Pod } from '#kube'
import { Allowances } from './auth/index.ts'
import type { Caller, PodFacts, World } from './ca/index.ts'
import { isTerminal } from './collections/index.ts'

/** The cluster's pods as the node-bound rule wants to know them. */
export function impersonationWorld(
  pods: Collection<Pod>,
  trustDomain: string,
  trustedAccounts: readonly string[],
  recheck: World['recheck'],
): World {
  const byNode = pods.indexBy(({ spec }) => (spec?.nodeName === undefined ? [] : [spec.nodeName]))
  return {
    trustDomain,
    trustedAccounts: new Set(trustedAccounts),
    podNamed: (namespace, name) => {
      const pod = pods.get(`${namespace}/${name}`)
      return pod && factsOf(pod)
    },
    podsOnNode: (node) => byNode.lookup(node).map(factsOf),
    recheck,
  }
}

/** What the rule needs of a pod. */
export const factsOf = (pod: Pod): PodFacts => ({
  uid: pod.metadata.uid ?? '',
  namespace: pod.metadata.namespace ?? '',
  serviceAccount: pod.spec?.serviceAccountName ?? 'default',
  node: pod.spec?.nodeName ?? '',
  terminal: isTerminal(pod),
})

/** A node proxy starts with all identities of its node, and asks again for what is refused. */
const ofNodeProxies = { burst: 2_000, perSecond: 200 }
/** Anybody else has one identity, and needs it twice a day. */
const ofOthers = { burst: 20, perSecond: 1 }

/** How often each pod may ask for a certificate, so that signing for one does not keep the others waiting. */
export function certificateAllowance(
  trustedAccounts: readonly string[],
  now = () => performance.now(),
): (caller: Caller) => boolean {
  const trusted = new Set(trustedAccounts)
  const [proxies, others] = [new Allowances({ ...ofNodeProxies, now }), new Allowances({ ...ofOthers, now })]
  return ({ namespace, serviceAccount, pod }) => {
    const account = `${namespace}/${serviceAccount}`
    return (trusted.has(account) ? proxies : others).take(`${account}/${pod?.uid ?? ''}`)
  }
}
