import { clientStatus } from '#wire'
import type { ClientStatus, TypeStatus } from '../xds/index.ts'
import { asEnvoy, fieldsOf } from './envoy-types.ts'

/** As Istio judges a type of a client: by its last error, then by the last nonces. */
export function configStatus({ sent, acked, lastError }: TypeStatus): clientStatus.ConfigStatus {
  const { NOT_SENT, ERROR, SYNCED, STALE } = clientStatus.ConfigStatus
  if (sent === '') return NOT_SENT
  if (lastError !== '') return ERROR
  return sent === acked ? SYNCED : STALE
}

/** `ztunnel~10.0.0.1~pod.namespace~domain`: what kind of proxy it is, and the name that users know. */
export function proxyOf(nodeId: string): Readonly<{ kind: string; name: string }> {
  const [kind = '', , name] = nodeId.split('~')
  return name === undefined ? { kind: '', name: nodeId } : { kind, name }
}

const shownTypes = ({ nodeId, types }: ClientStatus): ReadonlyMap<string, TypeStatus> =>
  proxyOf(nodeId).kind === 'waypoint' ? asEnvoy(types) : types

/** For `istioctl proxy-status`. A client is listed under the types that it asked for, a waypoint under those that its Envoy peer asks for. */
export const clientConfig = (client: ClientStatus): clientStatus.ClientConfig => ({
  node: {
    id: proxyOf(client.nodeId).name,
    cluster: '',
    metadata: { CLUSTER_ID: client.cluster, NAMESPACE: client.namespace, ISTIO_VERSION: client.version },
    buildVersion: '',
  },
  genericXdsConfigs: [...shownTypes(client)].map(([typeUrl, type]) => ({
    typeUrl,
    lastUpdated: type.sentAt,
    configStatus: configStatus(type),
    errorState:
      type.lastError === '' ? undefined : { lastUpdateAttempt: type.sentAt, details: type.lastError },
  })),
})

/** For `istioctl version` and Kiali: `/debug/syncz`. Fields that are empty are left out, as Istio does. */
export function syncStatus(client: ClientStatus): Readonly<Record<string, unknown>> {
  const { kind, name } = proxyOf(client.nodeId)
  return withoutEmpty({
    cluster_id: client.cluster,
    proxy: name,
    proxy_type: kind,
    proxy_version: client.version,
    istio_version: client.version,
    ...envoyFields(client),
    resources: Object.fromEntries(
      [...client.types].map(([typeUrl, { sent, acked, sentAt, lastError }]) => [
        typeUrl,
        withoutEmpty({ sent, acked, sentTime: sentAt?.toISOString() ?? '', lastError }),
      ]),
    ),
  })
}

/** `route_sent` and `route_acked`, and the like. */
const envoyFields = (client: ClientStatus): Readonly<Record<string, string>> =>
  Object.fromEntries(
    [...shownTypes(client)].flatMap(([typeUrl, { sent, acked }]) => {
      const field = fieldsOf.get(typeUrl)
      return field === undefined
        ? []
        : [
            [`${field}_sent`, sent],
            [`${field}_acked`, acked],
          ]
    }),
  )

const withoutEmpty = (fields: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))
