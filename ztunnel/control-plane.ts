import { createCaClient, meshTls, rootsOf, tokenOf } from '#identity'
import type { Registry } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { type Handler, xdsMetrics } from '#xds'
import type { Config } from './config.ts'
import { addressHandler, authorizationHandler, type MeshState } from './state/index.ts'
import type { Batch } from './worker/index.ts'

/** The CA, as the configuration names it. */
export const caClient = ({ ca, token, clusterId, certificateTtlMs, keyExchange, place }: Config) =>
  createCaClient({
    address: ca.address,
    rootPem: () => rootsOf(ca.root),
    token: () => tokenOf(token),
    clusterId,
    ttlSeconds: Math.ceil(certificateTtlMs / 1_000),
    keyExchange,
    headers: ca.headers,
    impersonate: place.kind === 'node', // a sidecar asks for itself
    ...(ca.serverName === undefined ? {} : { serverName: ca.serverName }),
  })

/** The xDS subscription. What the state has taken is published to the data workers as it came. */
export const xdsOptions = (
  { xds, token, clusterId, node, keyExchange }: Config,
  state: MeshState,
  registry: Registry,
  publish: (batch: Batch) => void,
) => ({
  address: xds.address,
  rootPem: () => rootsOf(xds.root),
  tls: meshTls(keyExchange),
  token: () => tokenOf(token),
  clusterId,
  serverName: xds.serverName,
  headers: xds.headers,
  node,
  types: {
    [addressTypeUrl]: publishing(addressTypeUrl, addressHandler(state), 'taken', publish),
    // A policy with unreadable parts is rejected, so that it is seen, and applies all the same: it denies.
    [authorizationTypeUrl]: publishing(authorizationTypeUrl, authorizationHandler(state), 'all', publish),
  },
  metrics: xdsMetrics(registry),
})

function publishing(
  typeUrl: string,
  { apply }: Handler,
  what: 'taken' | 'all',
  publish: (batch: Batch) => void,
): Handler {
  return {
    apply(upserts, removed) {
      const rejected = apply(upserts, removed)
      const refused = new Set(what === 'all' ? [] : rejected.map(({ name }) => name))
      publish({ typeUrl, upserts: upserts.filter(({ name }) => !refused.has(name)), removed })
      return rejected
    },
  }
}
