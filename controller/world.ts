import type { Collection, Pod } from '#kube'
import type { PodFacts, World } from './ca/index.ts'
import { isTerminal } from './collections/index.ts'

/** The cluster's pods as the node-bound rule wants to know them. */
export function impersonationWorld(
  pods: Collection<Pod>,
  trustDomain: string,
  trustedAccounts: readonly string[],
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
  }
}

const factsOf = (pod: Pod): PodFacts => ({
  uid: pod.metadata.uid ?? '',
  namespace: pod.metadata.namespace ?? '',
  serviceAccount: pod.spec?.serviceAccountName ?? 'default',
  node: pod.spec?.nodeName ?? '',
  terminal: isTerminal(pod),
})
