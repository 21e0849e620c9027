import { type KubeClient, kinds, reflect } from '#kube'
import type { Logger } from '#telemetry'
import type { Authority } from './ca/index.ts'
import type { Inputs, Mesh } from './collections/index.ts'
import {
  bundleName,
  conditionWriter,
  gatewayConditions,
  lead,
  rootBundleWriter,
  type VipRanges,
  vipWriter,
} from './reconcile/index.ts'

export type WriterOptions = Readonly<{
  client: KubeClient
  inputs: Inputs
  mesh: Mesh
  authority: Authority
  vipRanges: VipRanges
  signal: AbortSignal
  log: Logger
}>

const policyTypes = ['ZtunnelAccepted', 'WaypointAccepted']
const serviceTypes = ['istio.io/WaypointBound']

/** Everything that only the leader does. */
export function writersOf({ client, inputs, mesh, authority, vipRanges, signal, log }: WriterOptions) {
  const bundles = reflect(client, kinds.ConfigMap, {
    signal,
    log,
    fieldSelector: `metadata.name=${bundleName}`,
  })
  const gateways = reflect(client, kinds.Gateway, { signal, log, optional: true })
  const { policies, waypointReferences } = mesh
  const writers = [
    vipWriter({
      client,
      objects: inputs.serviceEntries,
      entries: mesh.serviceEntries,
      hidden: mesh.hiddenNamespaces,
      ranges: vipRanges,
      log,
    }),
    rootBundleWriter({
      client,
      namespaces: inputs.namespaces,
      bundles,
      rootPem: () => authority.rootPem,
      log,
    }),
    conditionWriter({
      client,
      kind: kinds.AuthorizationPolicy,
      objects: inputs.authorizationPolicies,
      also: policies.compiled,
      wanted: (_, key) => {
        const compiled = policies.compiled.get(key)
        return { types: policyTypes, conditions: compiled ? [compiled.condition] : [] }
      },
      fieldManager: 'istio-ambient-ztunnel-policy',
      log,
    }),
    conditionWriter({
      client,
      kind: kinds.Service,
      objects: inputs.services,
      also: waypointReferences,
      wanted: (_, key) => {
        const reference = waypointReferences.get(key)
        return { types: serviceTypes, conditions: reference ? [reference.condition] : [] }
      },
      fieldManager: 'istio-ambient-service',
      log,
    }),
    conditionWriter({
      client,
      kind: kinds.Gateway,
      objects: gateways,
      also: gateways,
      wanted: gatewayConditions,
      fieldManager: 'istio.io/mesh-controller',
      log,
    }),
  ]
  return async (leading: AbortSignal) => {
    // A bundle not yet seen is not a bundle that is missing.
    await Promise.race([bundles.synced, aborted(leading)])
    await lead(writers, leading)
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((done) => {
    if (signal.aborted) done()
    else signal.addEventListener('abort', () => done(), { once: true })
  })
