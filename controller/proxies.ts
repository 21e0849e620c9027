import type { Collection, Pod } from '#kube'
import { serviceRoutesTypeUrl } from '#routes'
import type { Mesh } from './collections/index.ts'
import { labels } from './collections/settings.ts'
import type { Config } from './config.ts'
import type { ServeOptions } from './xds/index.ts'

/**
 * Whose word that a resource cannot be read counts for it: the nodes' proxies, and of routes the pods of waypoints. Any
 * workload can ask for resources, and say what it likes of them.
 */
export const isProxy =
  (
    { trustedAccounts }: Pick<Config, 'trustedAccounts'>,
    pods: Collection<Pod>,
    { waypoints }: Pick<Mesh, 'waypoints'>,
  ): NonNullable<ServeOptions['isProxy']> =>
  ({ namespace, serviceAccount, pod }, typeUrl) => {
    if (trustedAccounts.includes(`${namespace}/${serviceAccount}`)) return true
    const row = typeUrl === serviceRoutesTypeUrl && pod ? pods.get(`${namespace}/${pod.name}`) : undefined
    const gateway =
      row && row.metadata.uid === pod?.uid ? row.metadata.labels?.[labels.gatewayName] : undefined
    return gateway !== undefined && waypoints.get(`${namespace}/${gateway}`) !== undefined
  }
