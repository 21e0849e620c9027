import { targetedPolicyTypeUrl } from '#policy'
import { serviceRoutesTypeUrl } from '#routes'
import { waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl } from '#wire'
import type { TypeStatus } from '../xds/index.ts'

const envoy = 'type.googleapis.com/envoy.config.'
const cluster = `${envoy}cluster.v3.Cluster`
const listener = `${envoy}listener.v3.Listener`
const route = `${envoy}route.v3.RouteConfiguration`
const endpoint = `${envoy}endpoint.v3.ClusterLoadAssignment`

/** Which of Envoy's types say what a waypoint is told in types of its own: tools know those, and ask after them. */
const standsFor: ReadonlyMap<string, readonly string[]> = new Map([
  [serviceRoutesTypeUrl, [cluster, route]],
  [targetedPolicyTypeUrl, [listener]],
  [waypointTelemetryTypeUrl, [listener]],
])
/** Endpoints are in addresses, which tools know by their own name too. */
const besides: ReadonlyMap<string, readonly string[]> = new Map([[addressTypeUrl, [endpoint]]])

/** The names of Envoy's types in Istio's answers of old, which Kiali reads. */
export const fieldsOf: ReadonlyMap<string, string> = new Map([
  [cluster, 'cluster'],
  [listener, 'listener'],
  [route, 'route'],
  [endpoint, 'endpoint'],
])

/** What a waypoint has, in the types that its Envoy peer would have. */
export function asEnvoy(types: ReadonlyMap<string, TypeStatus>): ReadonlyMap<string, TypeStatus> {
  const shown = new Map<string, TypeStatus>()
  for (const [typeUrl, status] of types) {
    if (!standsFor.has(typeUrl)) shown.set(typeUrl, status)
    for (const as of [...(standsFor.get(typeUrl) ?? []), ...(besides.get(typeUrl) ?? [])]) {
      const before = shown.get(as)
      shown.set(as, before === undefined || rank(status) > rank(before) ? status : before)
    }
  }
  return shown
}

/** Of two types that are shown as one, the one that is worse off. */
const rank = ({ sent, acked, lastError }: TypeStatus): number =>
  sent === '' ? 1 : lastError === '' ? (sent === acked ? 0 : 2) : 3
