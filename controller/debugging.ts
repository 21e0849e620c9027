import type { Config } from './config.ts'
import type { Mesh, Settings } from './collections/index.ts'
import type { FollowedRoutes } from './follow-routes.ts'
import { type DebugOptions, endpointsOf } from './debug/index.ts'
import { version } from './version.ts'

type Parts = Readonly<{ config: Config; settings: Settings; mesh: Mesh; routes: FollowedRoutes }> &
  Pick<DebugOptions, 'authenticate' | 'clients' | 'log'>

/** What is shown of this controller, and to whom. */
export function debugging({ config, settings, mesh, routes, ...rest }: Parts): DebugOptions {
  const { workloads, services, policies } = mesh
  const { namespace } = config
  const endpoints = endpointsOf({
    clients: rest.clients,
    workloads: workloads.list,
    services: services.list,
    policies: policies.authorizations.list,
    collections: new Map([...mesh.collections, ...routes.collections.map((one) => [one.name, one] as const)]),
    mesh: () => settings,
    clusterId: config.clusterId,
  })
  return { ...rest, namespace, endpoints, identifier: identifierOf(config) }
}

/** As Istio says which of its replicas answered. */
const identifierOf = ({ podName, revision }: Config): string =>
  JSON.stringify({
    Component: 'istiod',
    ID: podName,
    Info: {
      version,
      revision,
      golang_version: '',
      status: 'Clean',
      tag: version,
    },
  })
