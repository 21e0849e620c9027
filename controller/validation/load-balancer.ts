import { isRecord } from '#base'
import {
  type At,
  atMostOne,
  bool,
  type Check,
  type Fields,
  fields,
  filled,
  into,
  isThere,
  list,
  listAt,
  map,
  needsOne,
  number,
  oneOf,
  present,
  refuse,
  required,
  shown,
  text,
  unheeded,
  warn,
  whole,
} from './check.ts'
import { duration, isHeaderName } from './formats.ts'

const header: Check = (value, at) => {
  if (typeof value !== 'string' || !isHeaderName(value))
    refuse(at, `${shown(value)} is not the name of a header`)
}
const keys = ['httpHeaderName', 'httpCookie', 'useSourceIp', 'httpQueryParameterName']
const consistentHash = fields(
  {
    httpHeaderName: header,
    httpCookie: fields(
      {
        name: filled,
        path: text,
        ttl: duration({ zero: true }),
        attributes: list(fields({ name: filled, value: text }, (value, at) => required(value, at, 'name'))),
      },
      (value, at) => required(value, at, 'name'),
    ),
    useSourceIp: bool,
    httpQueryParameterName: filled,
    ringHash: fields({ minimumRingSize: whole(1, 8_388_608) }),
    maglev: fields({ tableSize: tableSize }),
    minimumRingSize: unheeded(whole(0, 8_388_608), 'deprecated; use ringHash.minimumRingSize'),
  },
  (value, at) => {
    needsOne(value, at, keys)
    atMostOne(value, at, keys)
    atMostOne(value, at, ['ringHash', 'maglev'])
  },
)

/** Envoy's bound, and maglev needs a prime. */
const maxTable = 5_000_011
function tableSize(value: unknown, at: At): void {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 2 || value > maxTable)
    return refuse(at, `${shown(value)} is not a whole number from 2 to ${maxTable}`)
  for (let divisor = 2; divisor * divisor <= value; divisor++)
    if (value % divisor === 0) return refuse(at, `${value} is no prime number, which maglev needs`)
}

const region: Check = (value, at) => {
  filled(value, at)
  if (typeof value === 'string' && /[*/]/.test(value))
    refuse(at, `${shown(value)} is a region only: no zone, no *`)
}
/** `region/zone/subzone`, a `*` last at most. */
const isLocality = (value: unknown): value is string =>
  typeof value === 'string' &&
  value !== '' &&
  value.split('/').length <= 3 &&
  value
    .split('/')
    .every((part, n, parts) => (part === '*' ? n === parts.length - 1 : part !== '' && !part.includes('*')))

const distribute = fields(
  { from: locality, to: map(whole(1, 100), (name, at) => locality(name, at)) },
  (value, at) => {
    required(value, at, 'from')
    const to = isRecord(value['to']) ? value['to'] : {}
    const sum = Object.values(to).reduce<number>(
      (total, one) => total + (typeof one === 'number' ? one : 0),
      0,
    )
    if (sum !== 100) refuse(into(at, 'to'), `the weights add up to ${sum}, not to 100`)
  },
)
function locality(value: unknown, at: At): void {
  if (!isLocality(value)) refuse(at, `${shown(value)} is not region/zone/subzone, with * last at most`)
}

const ways = ['distribute', 'failover', 'failoverPriority']
const localityLbSetting = fields(
  {
    enabled: bool,
    distribute: list(distribute),
    failover: list(
      fields({ from: region, to: region }, (value, at) => {
        required(value, at, 'from', 'to')
        if (value['from'] === value['to']) refuse(at, 'from and to are the same region')
      }),
    ),
    failoverPriority: list(filled),
  },
  (value, at) => {
    const there = ways.filter((name) => listAt(value, name).length > 0)
    if (there.includes('distribute') && there.length > 1)
      refuse(at, `${there.join(' and ')} exclude each other; keep one`)
    repeatedOrigins(value, at)
  },
)

function repeatedOrigins(value: Fields, at: At): void {
  const from = listAt(value, 'distribute').map((one) => (isRecord(one) ? one['from'] : undefined))
  for (const [n, one] of from.entries())
    if (isThere(one) && from.indexOf(one) < n)
      refuse(into(into(at, 'distribute'), n), `${shown(one)} is there twice`)
}

const slowStart = ['ROUND_ROBIN', 'LEAST_REQUEST', undefined]
export const loadBalancer: Check = fields(
  {
    simple: oneOf('UNSPECIFIED', 'LEAST_REQUEST', 'LEAST_CONN', 'ROUND_ROBIN', 'RANDOM', 'PASSTHROUGH'),
    consistentHash,
    localityLbSetting,
    zoneAwareLbSetting: unheeded(() => undefined, 'is not heeded by waypoints'),
    warmup: fields(
      { duration: duration(), minimumPercent: number(0, 100), aggression: number(1, 1_000) },
      (value, at) => required(value, at, 'duration'),
    ),
    warmupDurationSecs: unheeded(duration(), 'deprecated; use warmup.duration'),
  },
  (value, at) => {
    atMostOne(value, at, ['simple', 'consistentHash'])
    atMostOne(value, at, ['warmup', 'warmupDurationSecs'])
    if (value['simple'] === 'LEAST_CONN') warn(into(at, 'simple'), 'deprecated; use LEAST_REQUEST')
    const warm = present(value, ['warmup', 'warmupDurationSecs'])
    const simple: unknown = value['simple']
    if (
      warm.length > 0 &&
      (isThere(value['consistentHash']) || (typeof simple === 'string' && !slowStart.includes(simple)))
    )
      warn(into(at, warm[0] ?? ''), 'has an effect with ROUND_ROBIN and LEAST_REQUEST only')
  },
)
