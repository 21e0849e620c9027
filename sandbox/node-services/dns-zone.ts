import { type Ip, ipFromBytes, isIpv6, parseIp } from '#base'
import type { Collection, EndpointSlice, Service } from '#kube'
import { type Backend, backendsByPort, backendsOf, clusterIps, isHeadless, serviceOf } from './services.ts'

/** One record without its name: that is the name asked for. */
export type DnsRecord =
  | Readonly<{ type: 'A' | 'AAAA'; data: Ip }>
  | Readonly<{ type: 'CNAME'; data: string }>
  | Readonly<{ type: 'PTR' | 'TXT'; data: string }>
  | Readonly<{
      type: 'SRV'
      data: Readonly<{ target: string; port: number; priority: number; weight: number }>
    }>

/** Everything that a name has; no records means that it exists and has none. */
export type Found =
  | Readonly<{ kind: 'name'; records: readonly DnsRecord[] }>
  | Readonly<{ kind: 'no-such-name' }>
  /** Not a name of the cluster. */
  | Readonly<{ kind: 'elsewhere' }>
export type Resolve = (name: string) => Found

const nothing: Found = { kind: 'no-such-name' }
const empty: Found = { kind: 'name', records: [] }
const found = (records: readonly DnsRecord[]): Found =>
  records.length > 0 ? { kind: 'name', records } : nothing
const addressRecord = (data: Ip): DnsRecord => ({ type: isIpv6(data) ? 'AAAA' : 'A', data })
/** Version of Kubernetes' DNS specification that the names follow. */
const specification = '1.1.0'

type Sources = Readonly<{ services: Collection<Service>; slices: Collection<EndpointSlice>; domain: string }>

/** What answers are looked up in. */
type View = Readonly<{
  domain: string
  service(key: string): Service | undefined
  hasNamespace(namespace: string): boolean
  slicesOf(key: string): readonly EndpointSlice[]
  withClusterIp(ip: Ip): readonly Service[]
  withEndpoint(ip: Ip): readonly EndpointSlice[]
}>

/** Kubernetes' names (the DNS specification of Kubernetes) over the Services and endpoints as they are when asked. */
export function dnsZone({ services, slices, domain }: Sources): Resolve {
  const byService = slices.indexBy((slice) => [serviceOf(slice)])
  const byNamespace = services.indexBy(({ metadata }) => [metadata.namespace ?? ''])
  const byClusterIp = services.indexBy(clusterIps)
  const byEndpoint = slices.indexBy((slice) => backendsOf(slice).map(({ ip }) => ip))
  const view: View = {
    domain,
    service: (key) => services.get(key),
    hasNamespace: (namespace) => byNamespace.lookup(namespace).length > 0,
    slicesOf: (key) => byService.lookup(key),
    withClusterIp: (ip) => byClusterIp.lookup(ip),
    withEndpoint: (ip) => byEndpoint.lookup(ip),
  }
  return (name) => resolveIn(view, name.toLowerCase().replace(/\.$/, ''))
}

function resolveIn(view: View, name: string): Found {
  const { domain } = view
  if (name.endsWith('.arpa')) {
    const ip = reverseAddress(name)
    // "No such name" at once is worth more than the truth: programs ask for their address's name while they start.
    return ip === undefined ? nothing : reverse(view, ip)
  }
  if (name === domain) return empty
  if (!name.endsWith(`.${domain}`)) return { kind: 'elsewhere' }
  const labels = name.slice(0, -domain.length - 1).split('.')
  const tree = labels.pop()
  if (tree === 'svc') return inServices(view, labels)
  if (tree === 'pod') return podRecords(labels)
  return tree === 'dns-version' && labels.length === 0
    ? found([{ type: 'TXT', data: specification }])
    : nothing
}

/** `[[port.]protocol|endpoint.]service.namespace` */
function inServices(view: View, labels: readonly string[]): Found {
  const [namespace, name, first, second, ...rest] = labels.toReversed()
  if (namespace === undefined) return empty
  if (name === undefined) return view.hasNamespace(namespace) ? empty : nothing
  const key = `${namespace}/${name}`
  const service = view.service(key)
  if (!service || rest.length > 0) return nothing
  if (first === undefined) return serviceRecords(view, service, key)
  if (second !== undefined)
    return first.startsWith('_') && second.startsWith('_')
      ? portRecords(view, service, key, second.slice(1), first.slice(1).toUpperCase())
      : nothing
  if (first.startsWith('_')) return empty
  const named = readyIn(view, key).filter((backend) => hostOf(backend) === first)
  return found(named.map(({ ip }) => addressRecord(ip)))
}

const nameOf = ({ domain }: View, key: string): string => {
  const [namespace, name] = key.split('/')
  return `${name}.${namespace}.svc.${domain}`
}

const readyIn = (view: View, key: string): readonly Backend[] =>
  view
    .slicesOf(key)
    .flatMap(backendsOf)
    .filter((backend) => backend.ready)

function serviceRecords(view: View, service: Service, key: string): Found {
  const { spec } = service
  if (spec?.type === 'ExternalName')
    return found(spec.externalName ? [{ type: 'CNAME', data: spec.externalName }] : [])
  const ips = isHeadless(service) ? readyIn(view, key).map(({ ip }) => ip) : clusterIps(service)
  return found([...new Set(ips)].map(addressRecord))
}

function portRecords(view: View, service: Service, key: string, port: string, protocol: string): Found {
  if (!isHeadless(service)) {
    const ports = (service.spec?.ports ?? []).filter(
      (each) => each.name === port && (each.protocol ?? 'TCP') === protocol,
    )
    return found(srv(ports.map((each) => ({ target: nameOf(view, key), port: each.port }))))
  }
  const rows = backendsByPort(view.slicesOf(key)).get(port) ?? []
  const targets = rows
    .filter((row) => row.protocol === protocol)
    .flatMap((row) =>
      row.backends
        .filter((backend) => backend.ready)
        .map((backend) => ({ target: `${hostOf(backend)}.${nameOf(view, key)}`, port: row.port })),
    )
  // A pod with both families is one target.
  return found(
    srv([...new Map(targets.map((target) => [`${target.target}:${target.port}`, target])).values()]),
  )
}

function reverse(view: View, ip: Ip): Found {
  const [direct] = view.withClusterIp(ip)
  if (direct)
    return found([
      { type: 'PTR', data: nameOf(view, `${direct.metadata.namespace}/${direct.metadata.name}`) },
    ])
  const names = view.withEndpoint(ip).flatMap((slice) =>
    backendsOf(slice)
      .filter((backend) => backend.ip === ip && backend.ready)
      .map((backend) => `${hostOf(backend)}.${nameOf(view, serviceOf(slice))}`),
  )
  return found([...new Set(names)].map((data): DnsRecord => ({ type: 'PTR', data })))
}

const srv = (targets: readonly Readonly<{ target: string; port: number }>[]): readonly DnsRecord[] =>
  targets.map(({ target, port }) => ({
    type: 'SRV',
    data: { target, port, priority: 0, weight: Math.max(1, Math.floor(100 / targets.length)) },
  }))

/** An endpoint's name below its Service: its own, or its address with dashes. */
const hostOf = ({ hostname, ip }: Backend): string => hostname ?? ip.replaceAll(/[.:]/g, '-')

/** `10-244-1-5.shop.pod`: the name says the address; whether such a pod exists is not asked (CoreDNS: pods insecure). */
function podRecords(labels: readonly string[]): Found {
  const [dashed, namespace, ...more] = labels
  if (namespace === undefined || dashed === undefined || more.length > 0)
    return labels.length <= 1 ? empty : nothing
  const ip = parseIp(dashed.replaceAll('-', '.')) ?? parseIp(dashed.replaceAll('-', ':'))
  return ip === undefined ? nothing : found([addressRecord(ip)])
}

/** `1.0.0.10.in-addr.arpa` and its IPv6 sister → address; undefined for anything else. */
export function reverseAddress(name: string): Ip | undefined {
  const v4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name)
  if (v4) return parseIp(v4.slice(1).toReversed().join('.'))
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)
  return v6?.[1] === undefined
    ? undefined
    : ipFromBytes(Buffer.from(v6[1].replaceAll('.', '').split('').toReversed().join(''), 'hex'))
}
