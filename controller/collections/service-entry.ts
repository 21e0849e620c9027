import { type Cidr, type Ip, isRecord, parseCidr, parseIp } from '#base'
import type { Custom } from '#kube'
import { workload } from '#wire'
import { nameOf, namespaceOf } from './inputs.ts'
import { shown } from './problems.ts'
import { appProtocolOf } from './services.ts'
import type { EntryVisibility } from './settings.ts'
import { type EntryEndpoint, recordOfTexts, readEndpoint } from './workload-entry.ts'

const resolutions = ['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS'] as const
type Resolution = (typeof resolutions)[number]

type EntryPort = Readonly<{
  number: number
  name: string
  targetPort: number | undefined
  appProtocol: workload.AppProtocol
}>

/** A ServiceEntry, read. What could not be is left out and named in `problems`. */
export type ServiceEntry = Readonly<{
  key: string
  namespace: string
  name: string
  created: string
  hosts: readonly string[]
  /** What the user wrote; `[]` also when nothing of it can be read. */
  addresses: readonly Cidr[]
  ports: readonly EntryPort[]
  resolution: Resolution
  endpoints: readonly EntryEndpoint[]
  selector: Readonly<Record<string, string>> | undefined
  /** Whom `exportTo` shows it to; undefined when it does not say. */
  exportTo: EntryVisibility | undefined
  /** The namespaces that it names beside. */
  exportedTo: readonly string[]
  subjectAltNames: readonly string[]
  /** Hosts that get addresses from us, for the user gave none. */
  allocated: readonly string[]
  /** The addresses that were given to a host of `allocated`, from the status. */
  vips: readonly Readonly<{ host: string; address: Ip }>[]
  trafficDistribution: string | undefined
  problems: readonly string[]
  /** What is right in Istio, and nothing in ambient: sidecars would serve it. */
  unserved: readonly string[]
}>

const autoAllocate = 'networking.istio.io/enable-autoallocate-ip'
export const isWildcard = (host: string): boolean => host.startsWith('*')
/** Nobody could resolve its hosts but a waypoint. */
export const isForWaypoint = ({ resolution }: Pick<ServiceEntry, 'resolution'>): boolean =>
  resolution === 'DYNAMIC_DNS'

/** Undefined when it has nothing that could be served. */
export function readServiceEntry(object: Custom): ServiceEntry | undefined {
  const problems: string[] = []
  const unserved: string[] = []
  const spec = isRecord(object.spec) ? object.spec : {}
  const resolution = resolutions.find((name) => name === (spec['resolution'] ?? 'NONE'))
  if (resolution === undefined) problems.push(`spec.resolution: ${shown(spec['resolution'])} is unknown`)
  const hosts = resolution === undefined ? [] : hostsOf(spec['hosts'], resolution, problems, unserved)
  const selector = selectorOf(spec['workloadSelector'], problems)
  const endpoints = listOf(spec['endpoints'], 'spec.endpoints', problems).flatMap((value, i) =>
    endpointOf(value, `spec.endpoints[${i}]`, resolution, problems),
  )
  if (selector && endpoints.length > 0)
    problems.push('spec.endpoints: not looked at beside a workloadSelector')
  const { metadata } = object
  const entry = {
    key: `${namespaceOf(object)}/${nameOf(object)}`,
    namespace: namespaceOf(object),
    name: nameOf(object),
    created: metadata.creationTimestamp ?? '',
    hosts,
    addresses: addressesOf(spec['addresses'], problems),
    ports: portsOf(spec['ports'], problems, unserved),
    resolution: resolution ?? 'NONE',
    endpoints: selector ? [] : oncePerAddress(endpoints, problems),
    selector,
    ...exportOf(spec['exportTo'], problems),
    subjectAltNames: texts(listOf(spec['subjectAltNames'], 'spec.subjectAltNames', problems)),
    trafficDistribution: metadata.annotations?.['networking.istio.io/traffic-distribution'],
    problems,
    unserved,
  }
  if (isForWaypoint(entry) && hosts.some(isWildcard)) unserved.push(...unnamedPorts(entry.ports))
  const hasOwn = listOf(spec['addresses'], 'spec.addresses', []).length > 0
  const wants = !hasOwn && entry.resolution !== 'NONE' && metadata.labels?.[autoAllocate] !== 'false'
  const allocated = wants ? hosts : []
  return { ...entry, allocated, vips: vipsOf(object.status, allocated) }
}

/** Names below a wildcard are told apart by what requests say. */
const unnamedPorts = (ports: readonly EntryPort[]): readonly string[] =>
  ports.flatMap(({ number, appProtocol }) =>
    appProtocol === workload.AppProtocol.TCP || appProtocol === workload.AppProtocol.TLS
      ? [`spec.ports: below a wildcard port ${number} leads nowhere, as it is not HTTP's`]
      : [],
  )

/** The addresses that a status holds for `hosts`, in its order; what is none is left out. */
function vipsOf(status: unknown, hosts: readonly string[]): ServiceEntry['vips'] {
  const list: unknown = isRecord(status) ? status['addresses'] : undefined
  return (Array.isArray(list) ? list : []).flatMap((item: unknown) => {
    const { value, host } = isRecord(item) ? item : {}
    const address = typeof value === 'string' ? parseIp(value) : undefined
    return address !== undefined && typeof host === 'string' && hosts.includes(host)
      ? [{ host, address }]
      : []
  })
}

const listOf = (value: unknown, path: string, problems: string[]): readonly unknown[] => {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value
  problems.push(`${path}: ${shown(value)} is not a list`)
  return []
}
const texts = (list: readonly unknown[]) => list.filter((value) => typeof value === 'string')

/** Resolutions that look up the hosts themselves where there are no endpoints. */
export const implicitDns: ReadonlySet<Resolution> = new Set(['DNS', 'DNS_ROUND_ROBIN'])

const hostName = /^(\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?)$/

/** Without repetition. A wildcard has no address to resolve, except where the waypoint resolves what was asked for. */
function hostsOf(
  value: unknown,
  resolution: Resolution,
  problems: string[],
  unserved: string[],
): readonly string[] {
  const hosts = listOf(value, 'spec.hosts', problems).flatMap((text, i) => {
    const host = typeof text === 'string' ? text.toLowerCase() : ''
    if (hostName.test(host) && (!isWildcard(host) || resolution === 'DYNAMIC_DNS')) return [host]
    const path = `spec.hosts[${i}]: ${shown(text)}`
    if (!hostName.test(host)) problems.push(`${path} is not a host name`)
    else if (implicitDns.has(resolution)) problems.push(`${path} cannot be resolved; that needs DYNAMIC_DNS`)
    else unserved.push(`${path} is served with resolution DYNAMIC_DNS and a waypoint only`)
    return []
  })
  return [...new Set(hosts)]
}

const addressesOf = (value: unknown, problems: string[]): readonly Cidr[] =>
  listOf(value, 'spec.addresses', problems).flatMap((text, i) => {
    const block = typeof text === 'string' ? parseCidr(text) : undefined
    if (block === undefined)
      problems.push(`spec.addresses[${i}]: ${shown(text)} is neither address nor block`)
    return block === undefined ? [] : [block]
  })

const isPort = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 65_536

/** Of the words for protocols those that are TCP to everybody here. */
const bareProtocols: ReadonlySet<string> = new Set(['MONGO', 'MYSQL', 'REDIS'])

const portsOf = (value: unknown, problems: string[], unserved: string[]): readonly EntryPort[] =>
  listOf(value, 'spec.ports', problems).flatMap((item, i) => {
    const { number, name = '', protocol, targetPort } = isRecord(item) ? item : {}
    const said = typeof protocol === 'string' ? protocol : ''
    if (said.toUpperCase() === 'UDP') {
      unserved.push(`spec.ports[${i}]: UDP does not cross the mesh`)
      return []
    }
    if (!isPort(number) || (targetPort !== undefined && !isPort(targetPort))) {
      problems.push(`spec.ports[${i}]: ${shown(item)} has no port number`)
      return []
    }
    const text = typeof name === 'string' ? name : ''
    const appProtocol = appProtocolOf(said === '' ? { name: text } : { appProtocol: said })
    const isKnown = appProtocol !== workload.AppProtocol.UNKNOWN || bareProtocols.has(said.toUpperCase())
    if (said !== '' && !isKnown)
      unserved.push(`spec.ports[${i}].protocol: ${shown(said)} is not known; what is spoken is found out`)
    return [{ number, name: text, targetPort, appProtocol }]
  })

function endpointOf(
  value: unknown,
  path: string,
  resolution: Resolution | undefined,
  problems: string[],
): readonly EntryEndpoint[] {
  const endpoint = readEndpoint(value)
  const fits = endpoint && (endpoint.ip !== undefined || resolution !== 'STATIC')
  const looked = resolution !== 'NONE' && resolution !== 'DYNAMIC_DNS'
  if (fits && looked) return [endpoint]
  const why =
    resolution !== undefined && !looked
      ? `not looked at with resolution ${resolution}`
      : `${shown(value)} has no address for it`
  problems.push(`${path}: ${why}`)
  return []
}

/** The address is the endpoint's name. */
function oncePerAddress(endpoints: readonly EntryEndpoint[], problems: string[]): readonly EntryEndpoint[] {
  const byAddress = new Map<string, EntryEndpoint>()
  for (const endpoint of endpoints) {
    if (byAddress.has(endpoint.address)) problems.push(`spec.endpoints: ${endpoint.address} is there twice`)
    else byAddress.set(endpoint.address, endpoint)
  }
  return [...byAddress.values()]
}

/** A selector that cannot be read selects nobody; so does an empty one. */
function selectorOf(value: unknown, problems: string[]): ServiceEntry['selector'] {
  if (value === undefined || value === null) return undefined
  const labels = isRecord(value) ? recordOfTexts(value['labels'] ?? {}) : undefined
  if (labels === undefined) problems.push(`spec.workloadSelector: ${shown(value)} cannot be read`)
  return labels ?? {}
}

function exportOf(value: unknown, problems: string[]): Pick<ServiceEntry, 'exportTo' | 'exportedTo'> {
  const list = listOf(value, 'spec.exportTo', problems)
  const exportedTo = list.includes('*')
    ? []
    : texts(list).filter((target) => target !== '.' && target !== '~')
  return { exportTo: seenThrough(list), exportedTo }
}

/**
 * Who sees what is exported to these; undefined for none. A list of other namespaces counts as everybody, as the wire
 * has no word for it.
 */
export function seenThrough(exportTo: readonly unknown[]): EntryVisibility | undefined {
  if (exportTo.length === 0) return undefined
  if (exportTo.includes('~')) return 'nobody'
  return exportTo.every((target) => target === '.') ? 'namespace' : 'everybody'
}
