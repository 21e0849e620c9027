import { createHash } from 'node:crypto'
import { type Ip, isIpv6 } from '#base'
import type { EndpointSlice, Service, ServicePort } from '#kube'
import { backendsByPort, clusterIps, serviceOf } from './services.ts'

/** The table that holds nothing but our rules. */
const tableName = 'lateen-proxy'
/** Bit of the packet mark (Kubernetes' own): connections from outside that came in by a node port. */
const masqueradeMark = '0x4000'
const protocols: Readonly<Record<string, string>> = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' }

type Target = Readonly<{ ip: Ip; port: number }>
/** One address and port that stands for a Service, and where its connections go. */
type Frontend = Readonly<{
  ip: Ip
  port: number
  protocol: string
  nodePort: number | undefined
  targets: readonly Target[]
  /** `namespace/name:port` for who reads the rules. */
  comment: string
}>

/** What one node's rules are made of. `skip` are addresses that the node itself serves. */
type ProxyInput = Readonly<{
  services: readonly Service[]
  slices: readonly EndpointSlice[]
  node: string
  skip?: readonly string[]
}>

/** The complete ruleset that sends Service addresses to endpoints on a node: one atomic `nft -f` replaces the last. */
export function proxyRules(input: ProxyInput): string {
  const all = frontends(input)
  return [
    `table inet ${tableName}`,
    `delete table inet ${tableName}`,
    `table inet ${tableName} {`,
    ...(['4', '6'] as const).flatMap((family) => familyMaps(family, ofFamily(all, family))),
    ...all.filter(({ targets }) => targets.length > 0).flatMap(chains),
    ...hooks,
    '}',
    '',
  ].join('\n')
}

/** Services whose client affinity is asked for but not kept. */
export const withoutAffinity = (services: readonly Service[]): readonly string[] =>
  services
    .filter(({ spec }) => spec?.sessionAffinity !== undefined && spec.sessionAffinity !== 'None')
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)

const ofFamily = (all: readonly Frontend[], family: '4' | '6') =>
  all.filter(({ ip }) => isIpv6(ip) === (family === '6'))

function frontends({ services, slices, node, skip = [] }: ProxyInput): readonly Frontend[] {
  const byService = Map.groupBy(slices, serviceOf)
  return services
    .toSorted((a, b) => (label(a) < label(b) ? -1 : 1))
    .filter(({ metadata }) => metadata.name !== undefined)
    .flatMap((service) => {
      const byPort = backendsByPort(byService.get(label(service)) ?? [])
      return clusterIps(service)
        .filter((ip) => !skip.includes(ip))
        .flatMap((ip) =>
          (service.spec?.ports ?? []).flatMap((port) => frontend(service, port, ip, node, byPort) ?? []),
        )
    })
}

const label = ({ metadata }: Service) => `${metadata.namespace ?? ''}/${metadata.name ?? ''}`

function frontend(
  service: Service,
  { name = '', port, protocol = 'TCP', nodePort }: ServicePort,
  ip: Ip,
  node: string,
  byPort: ReturnType<typeof backendsByPort>,
): Frontend | undefined {
  const l4 = protocols[protocol]
  if (l4 === undefined || !isPort(port)) return undefined
  const local = service.spec?.internalTrafficPolicy === 'Local'
  const candidates = (byPort.get(name) ?? [])
    .filter((row) => row.protocol === protocol && isPort(row.port))
    .flatMap((row) => row.backends.map((backend) => ({ ...backend, port: row.port })))
    .filter((backend) => isIpv6(backend.ip) === isIpv6(ip) && (!local || backend.node === node))
  const ready = candidates.filter((backend) => backend.ready)
  // With nobody ready the ones that are going but still answer are better than none (KEP-1669).
  const chosen = ready.length > 0 ? ready : candidates.filter((backend) => backend.draining)
  const targets = new Map(
    chosen.map((target) => [`${target.ip} ${target.port}`, { ip: target.ip, port: target.port }]),
  )
  const comment = `${label(service)}:${name || port}`.replaceAll(/[^\w./:-]/g, '').slice(0, 100)
  const wanted = nodePort !== undefined && isPort(nodePort) ? nodePort : undefined
  return {
    ip,
    port,
    protocol: l4,
    nodePort: wanted,
    comment,
    targets: [...targets.keys()].sort().flatMap((key) => targets.get(key) ?? []),
  }
}

const isPort = (port: number) => Number.isInteger(port) && port > 0 && port < 65_536

/** Chain names are hashes: namespace, name and port together may be longer than nft allows. */
const chainOf = ({ ip, port, protocol }: Frontend) =>
  `svc-${createHash('sha256').update(`${ip} ${protocol} ${port}`).digest('hex').slice(0, 16)}`

const elements = (list: readonly string[]) =>
  list.length === 0 ? [] : ['    elements = {', ...list.map((item) => `      ${item},`), '    }']

function familyMaps(family: '4' | '6', all: readonly Frontend[]): readonly string[] {
  const type = family === '4' ? 'ipv4_addr' : 'ipv6_addr'
  const served = all.filter(({ targets }) => targets.length > 0)
  const key = ({ ip, protocol, port }: Frontend) => `${ip} . ${protocol} . ${port}`
  const open = new Map(
    served
      .filter(({ nodePort }) => nodePort !== undefined)
      .map((row) => [
        `${row.protocol} . ${row.nodePort}`,
        `${row.protocol} . ${row.nodePort} : goto ext-${chainOf(row)}`,
      ]),
  )
  const hairpins = new Set(served.flatMap(({ targets }) => targets.map(({ ip }) => `${ip} . ${ip}`)))
  return [
    `  map services${family} {`,
    `    type ${type} . inet_proto . inet_service : verdict`,
    ...elements(unique(served.map((row) => [key(row), `${key(row)} : goto ${chainOf(row)}`]))),
    '  }',
    `  map node-ports${family} {`,
    '    type inet_proto . inet_service : verdict',
    ...elements([...open.values()]),
    '  }',
    `  set no-endpoints${family} {`,
    `    type ${type} . inet_proto . inet_service`,
    ...elements(unique(all.filter(({ targets }) => targets.length === 0).map((row) => [key(row), key(row)]))),
    '  }',
    `  set hairpins${family} {`,
    `    type ${type} . ${type}`,
    ...elements([...hairpins]),
    '  }',
  ]
}

const unique = (pairs: readonly (readonly [string, string])[]): readonly string[] => [
  ...new Map(pairs).values(),
]

function chains(row: Frontend): readonly string[] {
  const name = chainOf(row)
  return [
    `  chain ${name} {`,
    `    comment "${row.comment}"`,
    `    ${dnat(row)}`,
    '  }',
    ...(row.nodePort === undefined
      ? []
      : [
          `  chain ext-${name} {`,
          `    meta mark set meta mark or ${masqueradeMark}`,
          `    goto ${name}`,
          '  }',
        ]),
  ]
}

function dnat({ ip, protocol, targets }: Frontend): string {
  const family = isIpv6(ip) ? 'ip6' : 'ip'
  const head = `meta l4proto ${protocol} dnat ${family} addr . port to`
  const choices = targets.map((target, i) => `${i} : ${target.ip} . ${target.port}`).join(', ')
  return `${head} numgen random mod ${targets.length} map { ${choices} }`
}

/** NAT before routing, refusals where a packet that no rule took would leave, source addresses only where they must change. */
const hooks = [
  '  chain services {',
  '    ip daddr . meta l4proto . th dport vmap @services4',
  '    ip6 daddr . meta l4proto . th dport vmap @services6',
  '    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports4',
  '    fib daddr type local ip6 daddr != ::1 meta l4proto . th dport vmap @node-ports6',
  '  }',
  '  chain prerouting {',
  '    type nat hook prerouting priority dstnat; policy accept;',
  '    jump services',
  '  }',
  '  chain output {',
  '    type nat hook output priority -100; policy accept;',
  '    jump services',
  '  }',
  '  chain refuse {',
  '    ip daddr . meta l4proto . th dport @no-endpoints4 goto refused',
  '    ip6 daddr . meta l4proto . th dport @no-endpoints6 goto refused',
  '  }',
  '  chain refused {',
  '    meta l4proto tcp reject with tcp reset',
  '    reject',
  '  }',
  '  chain refuse-forward {',
  '    type filter hook forward priority -110; policy accept;',
  '    ct state new jump refuse',
  '  }',
  '  chain refuse-output {',
  '    type filter hook output priority -110; policy accept;',
  '    ct state new jump refuse',
  '  }',
  '  chain postrouting {',
  '    type nat hook postrouting priority srcnat; policy accept;',
  `    meta mark and ${masqueradeMark} == ${masqueradeMark} masquerade`,
  '    ip saddr . ip daddr @hairpins4 masquerade',
  '    ip6 saddr . ip6 daddr @hairpins6 masquerade',
  '  }',
]
