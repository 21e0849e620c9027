import { type Collection, derive, type KubeObject } from '#kube'
import { type Inputs, namespaceOf } from './inputs.ts'

/** Objects that exist for us: those in the namespaces that we look at. Pods and their endpoints are looked at one by one. */
export type OurObjects = Pick<
  Inputs,
  | 'services'
  | 'authorizationPolicies'
  | 'peerAuthentications'
  | 'serviceEntries'
  | 'workloadEntries'
  | 'gateways'
>

/**
 * `discoverySelectors` hide every object of a namespace, policies of the root namespace too (Istio: the filter of
 * discovery namespaces knows no exception); the log says so, see findings.ts.
 */
export function ourObjects(inputs: Inputs, hidden: Collection<true>): OurObjects {
  const looked = <T extends KubeObject>(name: string, from: Collection<T>) =>
    derive<T, T>(
      name,
      from,
      (object, fetch) => (fetch.one(hidden, namespaceOf(object)) === undefined ? object : undefined),
      { equal: Object.is },
    )
  return {
    services: looked('OurServices', inputs.services),
    authorizationPolicies: looked('OurAuthorizationPolicies', inputs.authorizationPolicies),
    peerAuthentications: looked('OurPeerAuthentications', inputs.peerAuthentications),
    serviceEntries: looked('OurServiceEntries', inputs.serviceEntries),
    workloadEntries: looked('OurWorkloadEntries', inputs.workloadEntries),
    gateways: looked('OurGateways', inputs.gateways),
  }
}
