import { createCaClient, meshTls, rootsOf, tokenOf } from '#identity'
import { addressHandler, authorizationHandler, type MeshState } from '#mesh'
import { targetedPolicyTypeUrl } from '#policy'
import { serviceRoutesTypeUrl, waypointKey } from '#routes'
import { type Registry, waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { xdsMetrics } from '#xds'
import type { Config } from './config.ts'
import type { WaypointPolicies } from './policy.ts'
import type { Routes } from './route/index.ts'
import type { ToldTelemetry } from './telemetry/index.ts'

/** The CA, as the configuration names it. It gives us our own identity and no other. */
export const caClient = ({ ca, token, clusterId, certificateTtlMs, keyExchange }: Config) =>
  createCaClient({
    address: ca.address,
    rootPem: () => rootsOf(ca.root),
    token: () => tokenOf(token),
    clusterId,
    ttlSeconds: Math.ceil(certificateTtlMs / 1_000),
    keyExchange,
    impersonate: false,
  })

/** What is held of what the control plane tells. */
type Known = Readonly<{ state: MeshState; routes: Routes; policies: WaypointPolicies; told: ToldTelemetry }>

/** The xDS subscription: the mesh, and what waypoints alone are told. */
export const xdsOptions = (
  { xds, ca, token, clusterId, node, keyExchange, gateway }: Config,
  { state, routes, policies, told }: Known,
  registry: Registry,
) => ({
  address: xds.address,
  rootPem: () => rootsOf(ca.root),
  tls: meshTls(keyExchange),
  token: () => tokenOf(token),
  clusterId,
  serverName: xds.serverName,
  headers: {},
  node,
  types: {
    [addressTypeUrl]: addressHandler(state),
    [authorizationTypeUrl]: authorizationHandler(state),
    [targetedPolicyTypeUrl]: policies.handler,
    [serviceRoutesTypeUrl]: {
      ...routes.handler,
      names: [waypointKey(gateway.namespace, gateway.name)],
    },
    [waypointTelemetryTypeUrl]: {
      ...told.handler,
      names: [waypointKey(gateway.namespace, gateway.name)],
    },
  },
  metrics: xdsMetrics(registry),
})
