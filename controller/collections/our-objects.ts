import { type Collection, derive, type KubeObject } from '#kube'
import { type Inputs, namespaceOf } from './inputs.ts'
import { labels, type Settings } from './settings.ts'

/** Objects that exist for us: in the namespaces that we look at, and not another revision's. Pods and their endpoints are looked at one by one. */
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
 * discovery namespaces knows no exception); the log says so, see findings.ts. Istio's own kinds belong to the revision
 * that their label names, and without one to all; a tag is no revision here. A Gateway is a waypoint whoever deployed it.
 */
export function ourObjects(inputs: Inputs, hidden: Collection<true>, { revision }: Settings): OurObjects {
  const isOurs = ({ metadata }: KubeObject) => (metadata.labels?.[labels.revision] || revision) === revision
  const looked = <T extends KubeObject>(
    name: string,
    from: Collection<T>,
    fits: (row: T) => boolean = () => true,
  ) =>
    derive<T, T>(
      name,
      from,
      (object, fetch) =>
        fits(object) && fetch.one(hidden, namespaceOf(object)) === undefined ? object : undefined,
      { equal: Object.is },
    )
  return {
    services: looked('OurServices', inputs.services),
    authorizationPolicies: looked('OurAuthorizationPolicies', inputs.authorizationPolicies, isOurs),
    peerAuthentications: looked('OurPeerAuthentications', inputs.peerAuthentications, isOurs),
    serviceEntries: looked('OurServiceEntries', inputs.serviceEntries, isOurs),
    workloadEntries: looked('OurWorkloadEntries', inputs.workloadEntries, isOurs),
    gateways: looked('OurGateways', inputs.gateways),
  }
}
