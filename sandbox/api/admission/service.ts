import { cidrContains, ipFromBytes, isIpv6, parseCidr, parseIp } from '#base'
import { type Cause } from '../rest/refusal.ts'
import { type KubeObject, listAt, numberAt, recordAt, textAt } from '../rest/object.ts'
import { changeEach, type Fields } from './fields.ts'

type Family = 'IPv4' | 'IPv6'
/** What is taken already, and where new ones come from. */
type ServicePool = Readonly<{
  cidrs: readonly [ipv4: string, ipv6: string]
  usedIps: ReadonlySet<string>
  /** Addresses that only one Service may have, there yet or not; by its `namespace/name`. */
  reservedIps: ReadonlyMap<string, string>
  usedNodePorts: ReadonlySet<number>
  random: () => number
}>
type AllocatedService =
  | Readonly<{ ok: true; object: KubeObject }>
  | Readonly<{ ok: false; causes: readonly Cause[] }>

const firstNodePort = 30_000
const lastNodePort = 32_767
/** Addresses below this offset are for those who name theirs (Kubernetes: the static band of a /16). */
const dynamicOffset = 256
/** Of a large block only this many addresses are handed out: an IPv6 /112 has as many as an IPv4 /16. */
const maxOffset = 65_534

/** What the server hands out to a Service that has its defaults: cluster IPs of each family, node ports. Pure. */
export function allocateService(
  service: KubeObject,
  live: KubeObject | undefined,
  pool: ServicePool,
): AllocatedService {
  const spec = recordAt(service, 'spec')
  if (spec['type'] === 'ExternalName') return { ok: true, object: { ...service, spec } }
  const { namespace = '', name = '' } = service.metadata
  const before = live === undefined ? {} : recordAt(live, 'spec')
  const addressed = allocateIps(`${namespace}/${name}`, spec, before, pool)
  if ('causes' in addressed) return { ok: false, causes: addressed.causes }
  const ported = allocateNodePorts(addressed.spec, live, pool)
  return 'causes' in ported
    ? { ok: false, causes: ported.causes }
    : { ok: true, object: { ...service, spec: ported.spec } }
}

type Step = Readonly<{ spec: Fields }> | Readonly<{ causes: readonly Cause[] }>
const reject = (field: string, message: string, reason = 'FieldValueInvalid'): Step => ({
  causes: [{ reason, field, message }],
})

const isAddress = (value: unknown): value is string => typeof value === 'string' && value !== ''

function allocateIps(owner: string, spec: Fields, before: Fields, pool: ServicePool): Step {
  const given = listAt(spec, 'clusterIPs').filter(isAddress)
  const previous = listAt(before, 'clusterIPs')
  const primary = textAt(spec, 'clusterIP') || given[0] || textAt(before, 'clusterIP') || ''
  if (previous.length > 0 && before['type'] !== 'ExternalName' && primary !== previous[0])
    return reject(
      'spec.clusterIPs[0]',
      `Invalid value: ${JSON.stringify([primary])}: may not change once set`,
    )
  const wanted = familiesOf(spec, before, primary)
  if (primary === 'None')
    return {
      spec: {
        ...spec,
        clusterIP: 'None',
        clusterIPs: ['None'],
        ipFamilies: wanted.families,
        ipFamilyPolicy: wanted.policy,
      },
    }
  const taken = given.length > 0 ? given : previous
  const ips: string[] = []
  for (const [index, family] of wanted.families.entries()) {
    const asked = index === 0 ? primary : taken[index]
    const chosen = typeof asked === 'string' && asked !== '' ? asked : freeIp(family, pool)
    if (chosen === undefined) return reject('spec.clusterIPs', `no ${family} address is free`)
    const why = previous.includes(chosen) ? undefined : unusable(owner, chosen, family, pool)
    if (why !== undefined)
      return reject('spec.clusterIPs', `Invalid value: ${JSON.stringify([chosen])}: ${why}`)
    ips.push(chosen)
  }
  return {
    spec: {
      ...spec,
      clusterIP: ips[0],
      clusterIPs: ips,
      ipFamilies: wanted.families,
      ipFamilyPolicy: wanted.policy,
    },
  }
}

/** Which families, in which order: as asked, else as the primary address says, else IPv4 first. */
function familiesOf(
  spec: Fields,
  before: Fields,
  primary: string,
): Readonly<{ families: readonly Family[]; policy: string }> {
  const named = listAt(spec, 'ipFamilies').filter(
    (family): family is Family => family === 'IPv4' || family === 'IPv6',
  )
  const given =
    named.length > 0
      ? named
      : listAt(before, 'ipFamilies').filter(
          (family): family is Family => family === 'IPv4' || family === 'IPv6',
        )
  const headlessForAll = primary === 'None' && Object.keys(recordAt(spec, 'selector')).length === 0
  const double = given.length > 1 || listAt(spec, 'clusterIPs').length > 1
  const asked = textAt(spec, 'ipFamilyPolicy') ?? textAt(before, 'ipFamilyPolicy')
  const policy = asked ?? (headlessForAll || double ? 'RequireDualStack' : 'SingleStack')
  const first: Family = given[0] ?? (primary.includes(':') ? 'IPv6' : 'IPv4')
  const both: readonly Family[] = first === 'IPv4' ? ['IPv4', 'IPv6'] : ['IPv6', 'IPv4']
  return { families: policy === 'SingleStack' ? [first] : both, policy }
}

function unusable(owner: string, text: string, family: Family, pool: ServicePool): string | undefined {
  const ip = parseIp(text)
  if (ip === undefined) return 'must be a valid IP address'
  if (isIpv6(ip) !== (family === 'IPv6')) return `expected an ${family} value as indicated by \`ipFamilies\``
  const block = parseCidr(pool.cidrs[family === 'IPv4' ? 0 : 1])
  if (block === undefined || !cidrContains(block, ip)) return 'the provided IP is not in the valid range'
  const reserved = pool.reservedIps.get(ip)
  if (reserved !== undefined && reserved !== owner) return `provided IP is reserved for Service ${reserved}`
  return pool.usedIps.has(ip) ? 'provided IP is already allocated' : undefined
}

function freeIp(family: Family, pool: ServicePool): string | undefined {
  const block = parseCidr(pool.cidrs[family === 'IPv4' ? 0 : 1])
  if (block === undefined) return undefined
  const span = maxOffset - dynamicOffset
  const start = Math.floor(pool.random() * span)
  for (let step = 0; step < span; step++) {
    const offset = dynamicOffset + ((start + step) % span)
    const bytes = Uint8Array.from(block.bytes)
    const end = bytes.length
    bytes[end - 2] = offset >> 8
    bytes[end - 1] = offset & 0xff
    const ip = ipFromBytes(bytes)
    if (ip !== undefined && !pool.usedIps.has(ip)) return ip
  }
  return undefined
}

function allocateNodePorts(spec: Fields, live: KubeObject | undefined, pool: ServicePool): Step {
  const exposed =
    spec['type'] === 'NodePort' ||
    (spec['type'] === 'LoadBalancer' && spec['allocateLoadBalancerNodePorts'] !== false)
  if (!exposed) return { spec: changeEach(spec, 'ports', ({ nodePort: _dropped, ...port }) => port) }
  const own = new Set(listAt(live, 'spec', 'ports').map((port) => numberAt(port, 'nodePort')))
  const mine = new Set<number>()
  const causes: Cause[] = []
  const ported = changeEach(spec, 'ports', (port) => {
    const asked = numberAt(port, 'nodePort') || previousNodePort(live, port) || freeNodePort(pool, mine)
    if (asked < firstNodePort || asked > lastNodePort || (pool.usedNodePorts.has(asked) && !own.has(asked)))
      causes.push({
        reason: 'FieldValueInvalid',
        field: 'spec.ports[].nodePort',
        message: `Invalid value: ${asked}: provided port is ${pool.usedNodePorts.has(asked) ? 'already allocated' : `not in the valid range ${firstNodePort}-${lastNodePort}`}`,
      })
    mine.add(asked)
    return { ...port, nodePort: asked }
  })
  return causes.length > 0 ? { causes } : { spec: ported }
}

function previousNodePort(live: KubeObject | undefined, port: Fields): number | undefined {
  const same = listAt(live, 'spec', 'ports').find(
    (old) => numberAt(old, 'port') === port['port'] && textAt(old, 'protocol') === port['protocol'],
  )
  return numberAt(same, 'nodePort')
}

function freeNodePort(pool: ServicePool, mine: ReadonlySet<number>): number {
  const span = lastNodePort - firstNodePort + 1
  const start = Math.floor(pool.random() * span)
  for (let step = 0; step < span; step++) {
    const port = firstNodePort + ((start + step) % span)
    if (!pool.usedNodePorts.has(port) && !mine.has(port)) return port
  }
  return 0 // all taken: refused by the range check
}

/** What the stored services hold. */
export function servicePool(
  services: readonly KubeObject[],
  { cidrs, reservedIps, random }: Pick<ServicePool, 'cidrs' | 'reservedIps' | 'random'>,
): ServicePool {
  const ips = services.flatMap((service) => listAt(service, 'spec', 'clusterIPs')).map(String)
  const ports = services.flatMap((service) =>
    listAt(service, 'spec', 'ports').map((port) => numberAt(port, 'nodePort')),
  )
  return {
    cidrs,
    // An IPv6 address has many spellings and is kept as its Service spelled it.
    usedIps: new Set(ips.map((text) => parseIp(text) ?? text)),
    reservedIps,
    usedNodePorts: new Set(ports.filter((port) => port !== undefined)),
    random,
  }
}
