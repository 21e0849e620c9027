import { formatAddress, type Ip } from '#base'
import { type Cluster, endpointAddress, type Host, isEjected } from '../upstream/index.ts'
import { vipCluster } from './envoy-dump.ts'
import type { Json } from './envoy-route.ts'

type Shown = Readonly<{ host: Host; at: ReturnType<typeof endpointAddress> }>

const hostsOf = (cluster: Cluster, own: Ip): readonly Shown[] =>
  [...cluster.hosts()].map((host) => ({ host, at: endpointAddress(host, cluster.service, own) }))

/** Envoy's /clusters?format=json: the destinations that have been used, and their endpoints (`istioctl proxy-config endpoints`). */
export const clusterStatuses = (clusters: Iterable<Cluster>, own: Ip): Json => ({
  cluster_statuses: [...clusters].map((cluster) => ({
    name: vipCluster(cluster.policy.destination),
    added_via_api: true,
    host_statuses: hostsOf(cluster, own).map(({ host, at }) => ({
      address: {
        socket_address: { address: at?.address ?? host.workload.hostname, port_value: at?.port ?? host.port },
      },
      hostname: host.workload.hostname,
      weight: host.workload.capacity,
      health_status: {
        eds_health_status: host.workload.status === 'Healthy' ? 'HEALTHY' : 'UNHEALTHY',
        ...(isEjected(host) ? { failed_outlier_check: true } : {}),
      },
      stats: [{ name: 'rq_active', value: `${host.active}`, type: 'GAUGE' }],
      locality: host.workload.locality,
    })),
  })),
})

/** The same as lines. */
export function clusterLines(clusters: Iterable<Cluster>, own: Ip): string {
  let text = ''
  for (const cluster of clusters) {
    const name = vipCluster(cluster.policy.destination)
    text += `${name}::added_via_api::true\n`
    for (const { host, at } of hostsOf(cluster, own)) {
      const place = at ? formatAddress(at) : `${host.workload.hostname}:${host.port}`
      text += `${name}::${place}::rq_active::${host.active}\n`
      text += `${name}::${place}::health_flags::${isEjected(host) ? '/failed_outlier_check' : 'healthy'}\n`
      text += `${name}::${place}::weight::${host.workload.capacity}\n`
    }
  }
  return text
}
