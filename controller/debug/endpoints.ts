import { ipFromBytes } from '#base'
import { explainRow, type Traceable } from '#kube'
import type { ClientStatus } from '../xds/index.ts'
import { proxyOf, syncStatus } from './syncz.ts'

/** Answers with what becomes JSON. */
type Endpoint = (query: URLSearchParams) => unknown
export type Endpoints = ReadonlyMap<string, Endpoint>

/** What can be looked at. */
export type Sources = Readonly<{
  clients: () => readonly ClientStatus[]
  workloads: () => readonly unknown[]
  services: () => readonly unknown[]
  policies: () => readonly unknown[]
  /** Every collection by its name. */
  collections: ReadonlyMap<string, Traceable>
  mesh: () => unknown
  clusterId: string
}>

/** The names below `/debug/`, as far as this release has something to say; the rest is not found. */
export function endpointsOf(sources: Sources): Endpoints {
  const { clients, collections } = sources
  const endpoints = new Map<string, Endpoint>([
    ['adsz', () => connections(clients())],
    [
      'ambientz',
      () => ({
        workloads: sources.workloads(),
        services: sources.services(),
        policies: sources.policies(),
      }),
    ],
    ['clusterz', () => [{ id: sources.clusterId, secretName: '', syncStatus: 'synced' }]],
    ['config_dump', (query) => configDump(clients(), query.get('proxyID') ?? '')],
    ['connections', () => connections(clients())],
    ['krtz', (query) => rows(collections, query.get('collection'), query.get('key'))],
    ['mesh', () => sources.mesh()],
    ['syncz', () => clients().map(syncStatus)],
  ])
  endpoints.set('list', () => [...endpoints.keys()].sort())
  return endpoints
}

/** Whom `pod.namespace` names, and what it has of us. Not in Envoy's form, as nobody here has Envoy's configuration. */
export const configDump = (clients: readonly ClientStatus[], proxy: string): unknown => {
  const streams = clients.filter(({ nodeId }) => proxyOf(nodeId).name === proxy)
  if (streams.length === 0) return { error: 'no such proxy is connected to this replica', proxyID: proxy }
  return streams.map(({ nodeId, version, connectedAt, holdings }) => ({
    node: nodeId,
    version,
    connectedAt: connectedAt.toISOString(),
    types: holdings(),
  }))
}

const connections = (clients: readonly ClientStatus[]) => ({
  totalClients: clients.length,
  clients: clients.map(({ nodeId, connectedAt, peer, types }) => ({
    connectionId: nodeId,
    connectedAt: connectedAt.toISOString(),
    address: peer,
    watches: [...types.keys()],
  })),
})

/** Which collections there are, the keys of one, or one row with the inputs that it came from. */
function rows(collections: ReadonlyMap<string, Traceable>, name: string | null, key: string | null): unknown {
  if (name === null)
    return Object.fromEntries([...collections].map(([each, { keys }]) => [each, keys().length]))
  const collection = collections.get(name)
  if (!collection) return { error: 'no such collection', collections: [...collections.keys()] }
  if (key === null) return collection.keys()
  return { row: collection.get(key), explanation: explainRow(collection, key) }
}

/** Addresses become text, other bytes base64. */
export const toJson = (value: unknown): string => JSON.stringify(readable(value), undefined, 2)

function readable(value: unknown): unknown {
  if (value instanceof Uint8Array)
    return ipFromBytes(value)?.toString() ?? Buffer.from(value).toString('base64')
  if (typeof value === 'bigint') return String(value)
  if (Array.isArray(value)) return value.map(readable)
  if (value instanceof Set) return [...value].map(readable)
  if (value instanceof Map) return fields([...value].map(([key, each]) => [String(key), each]))
  return typeof value === 'object' && value !== null ? fields(Object.entries(value)) : value
}

const fields = (entries: readonly (readonly [string, unknown])[]) =>
  Object.fromEntries(entries.map(([key, each]) => [key, readable(each)]))
