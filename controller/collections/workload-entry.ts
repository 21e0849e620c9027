import { type Ip, isRecord, parseIp } from '#base'
import type { Custom, Pod } from '#kube'
import { workload } from '#wire'

/** Where an endpoint that is no pod is, and what it is: `spec.endpoints[]` of a ServiceEntry, or a WorkloadEntry. */
export type EntryEndpoint = Readonly<{
  /** As the user wrote it; an IP in its short form. */
  address: string
  /** Undefined: `address` is a host name. */
  ip: Ip | undefined
  ports: ReadonlyMap<string, number>
  labels: Readonly<Record<string, string>>
  network: string
  locality: workload.Locality | undefined
  /** Undefined: like everybody else. */
  weight: number | undefined
  serviceAccount: string
}>

const hostName = /^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?$/
const maxWeight = 0xff_ff_ff_ff

/** Undefined when it has no address that ztunnel could dial, such as a Unix socket. */
export function readEndpoint(value: unknown): EntryEndpoint | undefined {
  if (!isRecord(value) || typeof value['address'] !== 'string') return undefined
  const ip = parseIp(value['address'])
  if (ip === undefined && !isHostName(value['address'])) return undefined
  const { network = '', locality = '', weight, serviceAccount = '' } = value
  return {
    address: ip ?? value['address'].toLowerCase(),
    ip,
    ports: portsOf(value['ports']),
    labels: recordOfTexts(value['labels'] ?? {}) ?? {},
    network: textOf(network),
    locality: localityFrom(textOf(locality)),
    weight: typeof weight === 'number' && weight > 0 && weight <= maxWeight ? Math.trunc(weight) : undefined,
    serviceAccount: textOf(serviceAccount),
  }
}

/** Four numbers that are no address are a mistake, not a name. */
const isHostName = (text: string) => hostName.test(text) && !/^[\d.]+$/.test(text)
const textOf = (value: unknown) => (typeof value === 'string' ? value : '')

/** `region/zone/subzone`, from left to right as far as it goes. */
function localityFrom(text: string): workload.Locality | undefined {
  const [region = '', zone = '', subzone = ''] = text.split('/')
  return region || zone || subzone ? { region, zone, subzone } : undefined
}

const portsOf = (value: unknown): ReadonlyMap<string, number> =>
  new Map(
    Object.entries(isRecord(value) ? value : {}).filter(
      (entry): entry is [string, number] =>
        Number.isInteger(entry[1]) && Number(entry[1]) > 0 && Number(entry[1]) < 65_536,
    ),
  )

/** Undefined when any value is no text. */
export function recordOfTexts(value: unknown): Readonly<Record<string, string>> | undefined {
  const entries = isRecord(value) ? Object.entries(value) : undefined
  return entries?.every((entry): entry is [string, string] => typeof entry[1] === 'string')
    ? Object.fromEntries(entries)
    : undefined
}

/** A WorkloadEntry, read, and the pod that it stands for. */
export type Machine = Readonly<{ endpoint: EntryEndpoint; pod: Pod }>

/** Undefined: it has no address. */
export function readMachine(object: Custom): Machine | undefined {
  const endpoint = readEndpoint(object.spec)
  return endpoint && { endpoint, pod: podOf(object, endpoint) }
}

/** Labels of the object and of its spec, which beat those. */
const podOf = ({ metadata }: Custom, { labels }: EntryEndpoint): Pod => ({
  metadata: { ...metadata, labels: { ...metadata.labels, ...labels } },
})

/** The machine itself says whether it is well, by its agent's health checks; silence is health (facts: Istio ignores both). */
export function isUnhealthy({ status }: Custom): boolean {
  const conditions: unknown = isRecord(status) ? status['conditions'] : undefined
  return (
    Array.isArray(conditions) &&
    conditions.some((c: unknown) => isRecord(c) && c['type'] === 'Healthy' && c['status'] === 'False')
  )
}
