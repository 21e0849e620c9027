import { isRecord } from '#base'
import { type Collection, derive, type Fetch } from '#kube'
import type { DestinationPolicy, Protocol } from '#routes'
import { workload } from '#wire'
import type { Inputs, Mesh, Settings } from '../collections/index.ts'
import { tcpPorts } from '../collections/services.ts'
import { bindingOf } from '../collections/waypoint-binding.ts'

/** A port as its owner declared it. */
export type RoutedPort = Readonly<{
  port: number
  name: string
  protocol: Protocol
  /** How its endpoints are called. */
  http: DestinationPolicy['http']
  /** A protocol of Kubernetes' own names that we do not speak. */
  unsupported?: string
}>

/** A service that routes can be about: a Kubernetes Service, or a host of a ServiceEntry. */
export type RoutedService = Readonly<{
  /** `namespace/hostname`, as everywhere in the mesh. */
  name: string
  /** `namespace/name` of the object. */
  key: string
  kind: 'Service' | 'ServiceEntry'
  namespace: string
  hostname: string
  /** Seen by its own namespace only. */
  isPrivate: boolean
  /** The one that other namespaces mean by this host name. */
  isCanonical: boolean
  /** Has it an address of its own? Without one (headless) connections are its endpoints', past its waypoint and its routes. */
  isAddressed: boolean
  /** In order of their numbers. */
  ports: readonly RoutedPort[]
  /** `namespace/name`: the one that it is bound to, then its canary. None: nobody would act on routes. */
  waypoints: readonly string[]
}>

/** Why nobody comes to the waypoint of a service that is not addressed. */
export const noAddress =
  'has no address of its own, its clients go straight to its endpoints, past its waypoint'

export type MeshTables = Pick<Mesh, 'services' | 'waypoints' | 'hiddenNamespaces'>

/** The services of the mesh as routes see them, by `namespace/hostname`. */
export const routedServices = (
  inputs: Inputs,
  mesh: MeshTables,
  { domain }: Settings,
): Collection<RoutedService> =>
  derive('RoutedServices', mesh.services, (row, fetch, name): RoutedService => {
    const key = `${row.namespace}/${row.name}`
    const isKubernetes = row.hostname === `${row.name}.${row.namespace}.svc.${domain}`
    const service = isKubernetes ? fetch.one(inputs.services, key) : undefined
    const declared = service
      ? declaredPorts(tcpPorts(service), 'port', 'appProtocol')
      : declaredPorts(specOf(fetch.one(inputs.serviceEntries, key))['ports'], 'number', 'protocol')
    return {
      name,
      key,
      kind: service ? 'Service' : 'ServiceEntry',
      namespace: row.namespace,
      hostname: row.hostname,
      isPrivate: row.visibility === workload.Visibility.NAMESPACE,
      isCanonical: row.canonical,
      isAddressed: row.addresses.length > 0,
      ports: row.ports
        .map(({ servicePort: port }) => ({ port, ...(declared.get(port) ?? { name: '', ...unknown }) }))
        .sort((a, b) => a.port - b.port),
      waypoints: waypointsOf(row, key, fetch, inputs, mesh),
    }
  })

function waypointsOf(
  row: workload.Service,
  key: string,
  fetch: Fetch,
  inputs: Inputs,
  { waypoints }: MeshTables,
): readonly string[] {
  if (row.waypoint === undefined) return []
  const object = fetch.one(inputs.services, key) ?? fetch.one(inputs.serviceEntries, key)
  const seenInNamespaceOnly = row.visibility === workload.Visibility.NAMESPACE
  const target = { kind: 'service', seenInNamespaceOnly } as const
  const binding = object && bindingOf(object, target, fetch, { waypoints, namespaces: inputs.namespaces })
  if (binding?.kind !== 'bound') return []
  const { waypoint, canary } = binding
  return [waypoint.key, ...(canary ? [canary.waypoint.key] : [])]
}

const specOf = (object: { spec?: unknown } | undefined): Record<string, unknown> =>
  isRecord(object?.spec) ? object.spec : {}

type Declared = Omit<RoutedPort, 'port'>

function declaredPorts(
  list: unknown,
  numberField: string,
  protocolField: string,
): ReadonlyMap<number, Declared> {
  const ports = new Map<number, Declared>()
  for (const item of Array.isArray(list) ? list : []) {
    const { [numberField]: port, name, [protocolField]: said } = isRecord(item) ? item : {}
    if (typeof port !== 'number' || ports.has(port)) continue
    const text = typeof name === 'string' ? name : ''
    const spoken = declaredProtocol(text, typeof said === 'string' ? said : undefined)
    // Istio asks this of Services only.
    const isKnown = spoken === unknown && protocolField === 'appProtocol' && wellKnown.has(port)
    ports.set(port, { name: text, ...(isKnown ? tcp : spoken) })
  }
  return ports
}

type Spoken = Omit<Declared, 'name'>
const http1: Spoken = { protocol: 'http', http: 'http1' }
const http2: Spoken = { protocol: 'http', http: 'http2' }
const tls: Spoken = { protocol: 'tls', http: 'client' }
const tcp: Spoken = { protocol: 'tcp', http: 'client' }
const unknown: Spoken = { protocol: 'auto', http: 'client' }
/** SMTP, DNS, MySQL, MongoDB: ports that declare nothing else are these, and nobody waits for what a client says first. */
const wellKnown: ReadonlySet<number> = new Set([25, 53, 3306, 27017])
// A Map, because users choose the words and `constructor` is a member of every object.
const protocols: ReadonlyMap<string, Spoken> = new Map([
  ['http', http1],
  ['kubernetes.io/ws', http1],
  ['http2', http2],
  ['kubernetes.io/h2c', http2],
  ['grpc', http2],
  ['grpc-web', http2],
  ['https', tls],
  ['tls', tls],
  ['tcp', tcp],
  ['mongo', tcp],
  ['mysql', tcp],
  ['redis', tcp],
])

/** What the protocol field says, else the first word of the port's name: `http-web` is HTTP (Istio's rules). */
function declaredProtocol(name: string, said: string | undefined): Spoken {
  // The one name of two words.
  const word = said?.toLowerCase() ?? (/^grpc-web($|-)/.exec(name) ? 'grpc-web' : (name.split('-')[0] ?? ''))
  const spoken = protocols.get(word)
  if (spoken === undefined && word.startsWith('kubernetes.io/')) return { ...unknown, unsupported: word }
  return spoken ?? unknown
}
