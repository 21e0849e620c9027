import {
  type DestinationPolicy,
  type HashKey,
  type LoadBalancer,
  type LocalityPolicy,
  maxRingSize,
  maxTableSize,
} from '#routes'
import { shown } from '../collections/problems.ts'
import {
  booleanOf,
  type Field,
  itemsOf,
  numberOf,
  partsOf,
  problem,
  textOf,
  wordOf,
} from './gateway-api-fields.ts'
import { fractionOf, type Given, given, isThere, membersOf, msOf, type Notes } from './istio-fields.ts'

export type ReadLoadBalancer = Given<{
  balancer: LoadBalancer | undefined
  warmup: DestinationPolicy['warmup'] | undefined
  /** False: no locality counts. */
  localityEnabled: boolean | undefined
  locality: LocalityPolicy | undefined
}>

const simple = ['UNSPECIFIED', 'LEAST_REQUEST', 'LEAST_CONN', 'ROUND_ROBIN', 'RANDOM', 'PASSTHROUGH'] as const
const balancers: Readonly<Record<(typeof simple)[number], LoadBalancer>> = {
  UNSPECIFIED: { kind: 'least-request' },
  LEAST_REQUEST: { kind: 'least-request' },
  LEAST_CONN: { kind: 'least-request' },
  ROUND_ROBIN: { kind: 'round-robin' },
  RANDOM: { kind: 'random' },
  PASSTHROUGH: { kind: 'passthrough' },
}

export function readLoadBalancer(field: Field, notes: Notes): ReadLoadBalancer {
  const parts = partsOf(field, [
    'simple',
    'consistentHash',
    'localityLbSetting',
    'zoneAwareLbSetting',
    'warmup',
    'warmupDurationSecs',
  ])
  if (isThere(parts?.zoneAwareLbSetting))
    notes.remarks.push(`${parts.zoneAwareLbSetting.path}: is not honoured`)
  const word = wordOf(parts?.simple, simple)
  const hash = isThere(parts?.consistentHash) ? consistentHash(parts.consistentHash, notes) : undefined
  if (word !== undefined && hash) problem(field, 'simple and consistentHash exclude each other')
  const older = msOf(parts?.warmupDurationSecs)
  const warmup = isThere(parts?.warmup)
    ? readWarmup(parts.warmup)
    : older === undefined
      ? undefined
      : { durationMs: older, minimumPercent: 10, aggression: 1 }
  if (word === 'PASSTHROUGH')
    notes.remarks.push(
      `${field.path}.simple: waypoints are asked for services, and choose an endpoint at random`,
    )
  const balancer = hash ?? (word === undefined ? undefined : balancers[word])
  const isSlow =
    balancer === undefined || balancer.kind === 'least-request' || balancer.kind === 'round-robin'
  if (warmup && !isSlow)
    notes.remarks.push(`${field.path}.warmup: nothing is warmed up with ${balancer.kind}`)
  return {
    ...given({ balancer, warmup: isSlow ? warmup : undefined }),
    ...(isThere(parts?.localityLbSetting) ? readLocality(parts.localityLbSetting) : {}),
  }
}

function readWarmup(field: Field): DestinationPolicy['warmup'] | undefined {
  const parts = partsOf(field, ['duration', 'minimumPercent', 'aggression'])
  const durationMs = msOf(parts?.duration)
  if (durationMs === undefined) return problem(field, 'has no duration')
  const minimumPercent = fractionOf(parts?.minimumPercent, 0, 100) ?? 10
  return { durationMs, minimumPercent, aggression: fractionOf(parts?.aggression, 1, 1_000) ?? 1 }
}

/** Envoy's bounds. */
const [maxRing, maxTable] = [8_388_608, 5_000_011]

function consistentHash(field: Field, notes: Notes): LoadBalancer | undefined {
  const parts = partsOf(field, [
    'httpHeaderName',
    'httpCookie',
    'useSourceIp',
    'httpQueryParameterName',
    'ringHash',
    'maglev',
    'minimumRingSize',
  ])
  const cookie = isThere(parts?.httpCookie) ? cookieKey(parts.httpCookie) : undefined
  const [header, query] = [textOf(parts?.httpHeaderName), textOf(parts?.httpQueryParameterName)]
  const keys: readonly HashKey[] = [
    ...(header === undefined ? [] : [{ kind: 'header', name: header.toLowerCase() } as const]),
    ...(cookie === undefined ? [] : [cookie]),
    ...(booleanOf(parts?.useSourceIp) === true ? [{ kind: 'source-ip' } as const] : []),
    ...(query === undefined ? [] : [{ kind: 'query', name: query } as const]),
  ]
  if (keys.length !== 1) return problem(field, `names ${keys.length} keys; one is needed`)
  if (isThere(parts?.ringHash) && isThere(parts.maglev))
    return problem(field, 'ringHash and maglev exclude each other')
  if (isThere(parts?.maglev)) {
    const size = partsOf(parts.maglev, ['tableSize'])?.tableSize
    const asked = numberOf(size, 2, maxTable) ?? 65_537
    if (!isPrime(asked)) return problem(parts.maglev, `${asked} is no prime`)
    const tableSize = made(asked, maxTableSize, size, notes)
    return { kind: 'maglev', tableSize, keys }
  }
  const ring = isThere(parts?.ringHash) ? partsOf(parts.ringHash, ['minimumRingSize']) : undefined
  const size = ring?.minimumRingSize ?? parts?.minimumRingSize
  const asked = numberOf(size, 0, maxRing) || 1_024
  const minimumRingSize = made(asked, maxRingSize, size, notes)
  return { kind: 'ring-hash', minimumRingSize, keys }
}

/** As much of a size as waypoints make. */
function made(asked: number, most: number, field: Field | undefined, notes: Notes): number {
  if (field && asked > most) notes.remarks.push(`${field.path}: waypoints make ${most} places at most`)
  return Math.min(asked, most)
}

function isPrime(value: number): boolean {
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false
  return true
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const cookieText = /^[\x20-\x3a\x3c-\x7e]*$/

function cookieKey(field: Field): HashKey | undefined {
  const parts = partsOf(field, ['name', 'path', 'ttl', 'attributes'])
  const [name = '', path] = [textOf(parts?.name), textOf(parts?.path)]
  const attributes = (parts ? itemsOf(parts.attributes) : []).map((item) => {
    const own = partsOf(item, ['name', 'value'])
    return { name: textOf(own?.name) ?? '', value: textOf(own?.value) ?? '' }
  })
  const isGood =
    token.test(name) &&
    [path ?? '', ...attributes.map(({ value }) => value)].every((one) => cookieText.test(one))
  if (!isGood || !attributes.every((one) => token.test(one.name))) return problem(field, 'cannot be a cookie')
  return {
    kind: 'cookie',
    name,
    ...given({ path, ttlMs: msOf(parts?.ttl), attributes: attributes.length === 0 ? undefined : attributes }),
  }
}

function readLocality(field: Field): Pick<ReadLoadBalancer, 'locality' | 'localityEnabled'> {
  const parts = partsOf(field, ['enabled', 'distribute', 'failover', 'failoverPriority'])
  const shares = (parts ? itemsOf(parts.distribute) : []).map((item) => {
    const own = partsOf(item, ['from', 'to'])
    const to = membersOf(own?.to).map(([locality, one]) => ({
      locality,
      percent: numberOf(one, 0, 100) ?? 0,
    }))
    const sum = to.reduce((total, { percent }) => total + percent, 0)
    if (sum !== 100) problem(item, `the weights add up to ${sum}, not to 100`)
    return { from: textOf(own?.from) ?? '', to }
  })
  const regions = (parts ? itemsOf(parts.failover) : []).map((item) => {
    const own = partsOf(item, ['from', 'to'])
    return { from: textOf(own?.from) ?? '', to: textOf(own?.to) ?? '' }
  })
  const labels = (parts ? itemsOf(parts.failoverPriority) : []).flatMap((item) => {
    const [key = '', ...value] = (textOf(item) ?? '').split('=')
    if (key === '') return problem(item, `${shown(item.value)} is not a label`) ?? []
    return [{ key, ...given({ value: value.length === 0 ? undefined : value.join('=') }) }]
  })
  const there = [shares, regions, labels].filter((one) => one.length > 0)
  if (shares.length > 0 && there.length > 1)
    problem(field, 'distribute excludes failover and failoverPriority')
  const locality: LocalityPolicy | undefined =
    shares.length > 0
      ? { kind: 'distribute', shares }
      : labels.length > 0
        ? { kind: 'failover-labels', labels }
        : regions.length > 0
          ? { kind: 'failover', regions }
          : undefined
  return given({ localityEnabled: booleanOf(parts?.enabled), locality })
}
