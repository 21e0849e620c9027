import type { CertificateState } from '#identity'
import type { Destination } from '#routes'
import type { Config } from '../config.ts'
import type { PortPlan } from '../route/index.ts'
import { envoyRoute, type Json, typed } from './envoy-route.ts'

/** What is shown in Envoy's shapes. */
export type EnvoyParts = Readonly<{
  config: Config
  /** By service and port. */
  plans: Iterable<readonly [service: string, plan: PortPlan]>
  certificates: readonly CertificateState[]
}>

const hostOf = (service: string) => service.slice(service.indexOf('/') + 1)

/** As Istio's waypoints name it (facts: l7.md §3.9). */
export const vipCluster = ({ service, port, subset }: Destination, protocol = 'http'): string =>
  `inbound-vip|${port}|${protocol}${subset === undefined ? '' : `/${subset}`}|${hostOf(service)}`

/** `configs` of Envoy's /config_dump, as far as a waypoint has what is in them: istioctl and Kiali read it. */
export function envoyConfigs(parts: EnvoyParts): readonly Json[] {
  const plans = [...parts.plans]
  return [
    bootstrap(parts.config),
    dump('ClustersConfigDump', { dynamic_active_clusters: plans.flatMap(clustersOf) }),
    dump('ListenersConfigDump', { dynamic_listeners: listeners(parts.config, plans) }),
    dump('RoutesConfigDump', { dynamic_route_configs: plans.map(routesOf) }),
    dump('SecretsConfigDump', { dynamic_active_secrets: parts.certificates.flatMap(secretsOf) }),
  ]
}

const dump = (name: string, fields: Json): Json => typed(`admin.v3.${name}`, fields)

const bootstrap = ({ node, version, clusterId }: Config): Json =>
  dump('BootstrapConfigDump', {
    bootstrap: {
      node: {
        id: node.id,
        cluster: `${node.metadata.SERVICE_ACCOUNT}.${node.metadata.NAMESPACE}`,
        metadata: { ...node.metadata, CLUSTER_ID: clusterId, ISTIO_VERSION: version },
      },
    },
  })

const policies: Readonly<Record<string, string>> = {
  'least-request': 'LEAST_REQUEST',
  'round-robin': 'ROUND_ROBIN',
  random: 'RANDOM',
  passthrough: 'CLUSTER_PROVIDED',
  'ring-hash': 'RING_HASH',
  maglev: 'MAGLEV',
}

/** The destinations of a port's rules. */
function destinationsOf({ routes }: PortPlan): readonly Destination[] {
  const found = new Map<string, Destination>()
  for (const { action } of routes.http)
    if (action.kind === 'forward')
      for (const { to } of action.destinations) if (to.kind === 'service') found.set(vipCluster(to), to)
  return [...found.values()]
}

const clustersOf = ([, plan]: readonly [string, PortPlan]): readonly Json[] =>
  destinationsOf(plan).map((to) => {
    const policy = plan.policyOf(to)
    const name = vipCluster(to)
    return {
      cluster: typed('config.cluster.v3.Cluster', {
        name,
        type: 'EDS',
        eds_cluster_config: { service_name: name },
        ...(policy
          ? {
              connect_timeout: `${policy.connections.connectTimeoutMs / 1_000}s`,
              lb_policy: policies[policy.loadBalancer.kind] ?? 'LEAST_REQUEST',
            }
          : {}),
        metadata: { filter_metadata: { istio: { services: [{ host: hostOf(to.service) }] } } },
      }),
    }
  })

/** Where tunnels come in, and what is behind them. */
function listeners({ ports }: Config, plans: readonly (readonly [string, PortPlan])[]): readonly Json[] {
  const terminate = {
    name: 'connect_terminate',
    address: { socket_address: { address: '0.0.0.0', port_value: ports.hbone } },
  }
  const main = {
    name: 'main_internal',
    internal_listener: {},
    filter_chains: plans.map(([service, { routes }]) => ({
      name: `inbound-vip|${routes.port}|http|${hostOf(service)}`,
    })),
  }
  return [terminate, main].map((listener) => ({
    name: listener.name,
    active_state: { listener: typed('config.listener.v3.Listener', listener) },
  }))
}

function routesOf([service, { routes }]: readonly [string, PortPlan]): Json {
  const name = `inbound-vip|${routes.port}|http|${hostOf(service)}`
  return {
    route_config: typed('config.route.v3.RouteConfiguration', {
      name,
      virtual_hosts: [
        {
          name: hostOf(service),
          domains: ['*'],
          routes: routes.http.map((rule) => envoyRoute(rule, vipCluster)),
        },
      ],
    }),
  }
}

/** Certificates and roots; never a key. */
function secretsOf({ certificate }: CertificateState): readonly Json[] {
  if (!certificate) return []
  const bytes = (pems: readonly string[]) => ({
    inline_bytes: Buffer.from(pems.join('\n')).toString('base64'),
  })
  const secret = (name: string, fields: Json): Json => ({
    name,
    secret: typed('extensions.transport_sockets.tls.v3.Secret', { name, ...fields }),
  })
  return [
    secret('default', { tls_certificate: { certificate_chain: bytes(certificate.chainPem) } }),
    secret('ROOTCA', { validation_context: { trusted_ca: bytes(certificate.rootsPem) } }),
  ]
}
