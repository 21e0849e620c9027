import { isIP } from 'node:net'
import { isRecord } from '#base'
import {
  type At,
  type Check,
  type Fields,
  fields,
  filled,
  into,
  isThere,
  list,
  listAt,
  map,
  oneOf,
  recordAt,
  refuse,
  required,
  shown,
  text,
  whole,
} from './check.ts'
import { exportTo, host, label, labels, port, subnet } from './formats.ts'

const protocols = [
  'HTTP',
  'HTTPS',
  'HTTP2',
  'GRPC',
  'GRPC-WEB',
  'MONGO',
  'TCP',
  'TLS',
  'UDP',
  'MYSQL',
  'REDIS',
  '',
]
const protocol: Check = (value, at) =>
  value === '' ? undefined : oneOf(...protocols)(typeof value === 'string' ? value.toUpperCase() : value, at)
const servicePort = fields({ number: port, protocol, name: label, targetPort: port }, (value, at) =>
  required(value, at, 'number', 'name'),
)

/** An address is read by `collections/`, which says what ztunnel can do with it. */
export const workloadEntry: Check = fields({
  address: text,
  ports: map(port),
  labels,
  network: text,
  locality: text,
  weight: whole(0, 2 ** 32 - 1),
  serviceAccount: text,
})

export const serviceEntry: Check = fields(
  {
    hosts: list(host({ wildcard: true }), { least: 1 }),
    addresses: list(subnet),
    ports: list(servicePort),
    location: oneOf('MESH_EXTERNAL', 'MESH_INTERNAL'),
    resolution: oneOf('NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS'),
    endpoints: list(workloadEntry),
    workloadSelector: fields({ labels }),
    exportTo,
    subjectAltNames: list(filled),
  },
  together,
)

function together(value: Fields, at: At): void {
  const { resolution = 'NONE' } = value
  const endpoints = listAt(value, 'endpoints')
  for (const [n, one] of listAt(value, 'hosts').entries())
    if (one === '*') refuse(into(into(at, 'hosts'), n), '"*" would be every host there is')
  twice(value, 'number', at)
  twice(value, 'name', at)
  if (isThere(value['workloadSelector']) && endpoints.length > 0)
    refuse(into(at, 'workloadSelector'), 'cannot stand beside endpoints; keep one')
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints.length > 1)
    refuse(into(at, 'endpoints'), 'DNS_ROUND_ROBIN has one endpoint at most')
  if (resolution !== 'NONE' && resolution !== 'STATIC')
    for (const [n, one] of listAt(value, 'addresses').entries())
      if (typeof one === 'string' && one.includes('/') && !isSingle(one))
        refuse(
          into(into(at, 'addresses'), n),
          `${shown(one)}: a block is for NONE and STATIC; name addresses`,
        )
  portsOfEndpoints(value, endpoints, at)
}

const isSingle = (block: string): boolean => {
  const [address = '', bits] = block.split('/')
  return bits === (isIP(address) === 6 ? '128' : '32')
}

function twice(value: Fields, name: string, at: At): void {
  const seen = listAt(value, 'ports').map((one) => (isRecord(one) ? one[name] : undefined))
  for (const [n, one] of seen.entries())
    if (isThere(one) && seen.indexOf(one) < n)
      refuse(into(into(into(at, 'ports'), n), name), `${shown(one)} is there twice`)
}

function portsOfEndpoints(value: Fields, endpoints: readonly unknown[], at: At): void {
  const names = listAt(value, 'ports').map((one) => (isRecord(one) ? one['name'] : undefined))
  for (const [n, endpoint] of endpoints.entries())
    for (const name of Object.keys(isRecord(endpoint) ? recordAt(endpoint, 'ports') : {}))
      if (!names.includes(name))
        refuse(into(into(into(into(at, 'endpoints'), n), 'ports'), name), 'is no port of the ServiceEntry')
}
