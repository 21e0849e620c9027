import { type KubeClient, kinds, reflect } from '#kube'
import type { Logger } from '#telemetry'
import { caWriters } from './ca-writers.ts'
import { entryWriters } from './entry-writers.ts'
import type { LiveAuthority } from './ca/index.ts'
import type { Inputs, Mesh } from './collections/index.ts'
import { type GatewayOptions, gatewayWriters } from './gateway-writers.ts'
import { conditionWriter, lead, type VipRanges, webhookBundleWriter } from './reconcile/index.ts'

export type WriterOptions = Readonly<{
  client: KubeClient
  /** Our own. */
  namespace: string
  inputs: Inputs
  mesh: Mesh
  authority: LiveAuthority
  vipRanges: VipRanges
  gateway: GatewayOptions
  signal: AbortSignal
  log: Logger
}>

const policyTypes = ['ZtunnelAccepted', 'WaypointAccepted']
const serviceTypes = ['istio.io/WaypointBound']

/** Everything that only the leader does. */
export function writersOf(options: WriterOptions) {
  const { client, namespace, inputs, mesh, authority, gateway, signal, log } = options
  const ofCa = caWriters({ client, namespace, namespaces: inputs.namespaces, authority, signal, log })
  const configurations = reflect(client, kinds.ValidatingWebhookConfiguration, { signal, log })
  const { policies, waypointReferences } = mesh
  const writers = [
    ...entryWriters(options),
    ...ofCa.writers,
    webhookBundleWriter({
      client,
      namespace,
      configurations,
      pem: () => authority.current().rootPem,
      onChange: authority.onChange,
      log,
    }),
    conditionWriter({
      client,
      kind: kinds.AuthorizationPolicy,
      objects: inputs.authorizationPolicies,
      also: policies.policyConditions,
      wanted: (_, key) => ({ types: policyTypes, conditions: policies.policyConditions.get(key) ?? [] }),
      fieldManager: 'istio-ambient-ztunnel-policy',
      log,
    }),
    conditionWriter({
      client,
      kind: kinds.PeerAuthentication,
      objects: inputs.peerAuthentications,
      also: policies.peerConditions,
      wanted: (_, key) => ({ types: policyTypes, conditions: policies.peerConditions.get(key) ?? [] }),
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
    ...gatewayWriters({ client, namespace, inputs, signal, log, ...gateway }),
  ]
  return async (leading: AbortSignal) => {
    // A bundle not yet seen is not a bundle that is missing.
    await Promise.race([ofCa.synced, aborted(leading)])
    await lead(writers, leading)
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((done) => {
    if (signal.aborted) done()
    else signal.addEventListener('abort', () => done(), { once: true })
  })
