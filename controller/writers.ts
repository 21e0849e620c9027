import {
  type Collection,
  type KubeClient,
  type KubeObject,
  keyOf,
  kinds,
  lease,
  type LeaseOptions,
  reflect,
} from '#kube'
import type { Logger } from '#telemetry'
import { caWriters } from './ca-writers.ts'
import { entryWriters } from './entry-writers.ts'
import type { LiveAuthority } from './ca/index.ts'
import type { Inputs, Mesh } from './collections/index.ts'
import { classWriters, type GatewayOptions, gatewayWriters } from './gateway-writers.ts'
import { leasesOf } from './leases.ts'
import { routeWriters } from './route-writers.ts'
import type { FollowedRoutes } from './follow-routes.ts'
import type { RejectedRoutes } from './rejected-routes.ts'
import type { FollowedTelemetry } from './follow-telemetry.ts'
import { telemetryConditionTypes } from './telemetry/index.ts'
import { withRejections } from './rejected-policies.ts'
import type { Rejection } from './xds/index.ts'
import {
  conditionWriter,
  lead,
  namespaceEventWriter,
  type VipRanges,
  webhookBundleWriter,
  type Writer,
} from './reconcile/index.ts'

export type WriterOptions = Readonly<{
  client: KubeClient
  /** Our own. */
  namespace: string
  inputs: Inputs
  mesh: Mesh
  routes: FollowedRoutes
  telemetry: FollowedTelemetry
  authority: LiveAuthority
  /** Policies that a ztunnel does not take, by name. */
  rejectedPolicies: Collection<Rejection>
  rejectedRoutes: RejectedRoutes
  vipRanges: VipRanges
  gateway: GatewayOptions
  signal: AbortSignal
  log: Logger
}>

/** What one replica at a time does, and the Lease that says which. */
type Job = Readonly<{
  lease: string
  lead: Writer
  /** Until when it may write, by the monotonic clock. */
  held: (untilMs: number) => void
}>

/** Which objects a writer writes to; all are read. */
export type Scope = (object: KubeObject) => boolean

const policyTypes = ['ZtunnelAccepted', 'WaypointAccepted']
const serviceTypes = ['istio.io/WaypointBound']

/**
 * The jobs of a leader, each with a Lease of Istio's name. Gateways are a revision's own; so are objects that name a
 * revision. What names none is everybody's, and written by one replica of one revision.
 */
export function jobsOf(options: WriterOptions): readonly Job[] {
  const { revision } = options.gateway.render
  const revisionOf = ({ metadata }: KubeObject) => metadata.labels?.['istio.io/rev'] || undefined
  const everybodys: Scope = (object) => revisionOf(object) === undefined
  const ours: Scope = (object) => revisionOf(object) === revision
  const leases = leasesOf(revision)
  const job = (name: string, writersOf: (fenced: WriterOptions) => readonly Writer[]): Job => {
    const fence = { untilMs: 0 }
    // A process that was stopped for a while goes on where it was, and does not know yet that its time is over.
    const client = options.client.writingWhile(() => performance.now() < fence.untilMs)
    const writers = writersOf({ ...options, client })
    return { lease: name, lead: (signal) => lead(writers, signal), held: (ms) => void (fence.untilMs = ms) }
  }
  return [
    job(leases.bundles, (o) => [bundleJob(o)]),
    job(leases.gateways, gatewayWriters),
    job(leases.status, (o) => [...statusWriters(o, everybodys), serviceWriter(o), eventWriter(o)]),
    job(leases.ownStatus, (o) => statusWriters(o, ours)),
    job(leases.routes, (o) => [
      ...classWriters(o),
      ...routeWriters(o, everybodys),
      telemetryWriter(o, everybodys),
    ]),
    job(leases.ownRoutes, (o) => [...routeWriters(o, ours), telemetryWriter(o, ours)]),
    job(leases.addresses, (o) => entryWriters(o, everybodys)),
    job(leases.ownAddresses, (o) => entryWriters(o, ours)),
  ]
}

/** Does each job whenever its Lease is ours, until the signal fires. */
export async function leadJobs(
  client: KubeClient,
  jobs: readonly Job[],
  holder: Omit<LeaseOptions, 'name' | 'onHeld'>,
): Promise<void> {
  await Promise.all(
    jobs.map((one) => lease(client, { ...holder, name: one.lease, onHeld: one.held }, one.lead)),
  )
}

/** Roots and revocation lists for everybody, and the roots in the configuration of our webhook. */
function bundleJob({ client, namespace, inputs, authority, gateway, signal, log }: WriterOptions): Writer {
  const ofCa = caWriters({ client, namespace, namespaces: inputs.namespaces, authority, signal, log })
  const configurations = reflect(client, kinds.ValidatingWebhookConfiguration, { signal, log })
  const webhooks = webhookBundleWriter({
    client,
    namespace,
    revision: gateway.render.revision,
    configurations,
    pem: () => authority.current().rootPem,
    onChange: authority.onChange,
    ending: signal,
    log,
  })
  return async (leading) => {
    // A bundle not yet seen is not a bundle that is missing.
    await Promise.race([ofCa.synced, aborted(leading)])
    await lead([...ofCa.writers, webhooks], leading)
  }
}

/** Conditions of Telemetry objects. */
const telemetryWriter = (
  { client, telemetry: { objects, conditions }, log }: WriterOptions,
  scope: Scope,
): Writer =>
  conditionWriter({
    client,
    kind: kinds.Telemetry,
    objects,
    also: conditions,
    wanted: (_, key) => ({ types: telemetryConditionTypes, conditions: conditions.get(key) ?? [] }),
    scope: (object) => scope(object) && conditions.get(keyOf(object)) !== undefined,
    fieldManager: 'istio-telemetry-conditions',
    log,
  })

/** Conditions of policies. */
const statusWriters = (
  { client, mesh, rejectedPolicies, log }: WriterOptions,
  scope: Scope,
): readonly Writer[] => {
  const { peerConditions } = mesh.policies
  const policyConditions = withRejections(mesh.policies.policyConditions, rejectedPolicies)
  const own = { client, scope, fieldManager: 'istio-ambient-ztunnel-policy', log }
  return [
    conditionWriter({
      ...own,
      kind: kinds.AuthorizationPolicy,
      objects: mesh.ours.authorizationPolicies,
      also: policyConditions,
      wanted: (_, key) => ({ types: policyTypes, conditions: policyConditions.get(key) ?? [] }),
    }),
    conditionWriter({
      ...own,
      kind: kinds.PeerAuthentication,
      objects: mesh.ours.peerAuthentications,
      also: peerConditions,
      wanted: (_, key) => ({ types: policyTypes, conditions: peerConditions.get(key) ?? [] }),
    }),
  ]
}

/** Conditions of Services, which no revision has for itself. */
const serviceWriter = ({ client, mesh: { ours, waypointReferences }, log }: WriterOptions): Writer =>
  conditionWriter({
    client,
    kind: kinds.Service,
    objects: ours.services,
    also: waypointReferences,
    wanted: (_, key) => {
      const reference = waypointReferences.get(key)
      return { types: serviceTypes, conditions: reference ? [reference.condition] : [] }
    },
    fieldManager: 'istio-ambient-service',
    log,
  })

/** Namespaces have no status of ours. */
const eventWriter = ({ client, inputs, mesh, log }: WriterOptions): Writer =>
  namespaceEventWriter({ client, namespaces: inputs.namespaces, loose: mesh.looseNamespaces, log })

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((done) => {
    if (signal.aborted) done()
    else signal.addEventListener('abort', () => done(), { once: true })
  })
