import { randomFillSync } from 'node:crypto'
import { formatAddress, type SocketAddress } from '#base'
import type { Party, Service, Workload } from './mesh.ts'

const baggages = new WeakMap<Workload, string>()

/** Who a workload is, as it travels beside a tunnel (ztunnel: proxy.rs baggage_header_val). */
export function baggageOf(w: Workload): string {
  const made = baggages.get(w)
  if (made !== undefined) return made
  const baggage = writeBaggage(w)
  baggages.set(w, baggage)
  return baggage
}

function writeBaggage(w: Workload): string {
  const pairs: [string, string][] = [
    ['k8s.cluster.name', w.clusterId],
    ['k8s.namespace.name', w.namespace],
    [`k8s.${w.workloadType}.name`, w.workloadName],
    ['service.name', w.canonicalName],
    ['service.version', w.canonicalRevision],
    ['cloud.region', w.locality.region],
    ['cloud.availability_zone', w.locality.zone],
  ]
  const safe = (value: string) => value !== '' && /^[\x21-\x2b\x2d-\x7e]+$/.test(value) // no comma, no blank
  return pairs
    .filter(([, value]) => safe(value))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}

/** The headers of an outgoing CONNECT. */
export function requestHeaders(
  source: Workload,
  src: SocketAddress,
  service: Service | undefined,
): Readonly<Record<string, string>> {
  const host = service ? `;host=${service.hostname}` : ''
  return {
    baggage: baggageOf(source),
    forwarded: `for="${formatAddress(src)}"${host}`,
    traceparent: newTrace(),
  }
}

/** Random bytes are asked for by the block: a call costs more than the bytes. They name things and keep no secret. */
const block = Buffer.alloc(4096)
let used = block.length

function randomHex(bytes: number): string {
  if (used + bytes > block.length) {
    randomFillSync(block)
    used = 0
  }
  used += bytes
  return block.toString('hex', used - bytes, used)
}

const newTrace = () => `00-${randomHex(16)}-${randomHex(8)}-00`

/** The name of a connection in the log: what the peer's proxy calls it, if that is a W3C trace (ztunnel: inbound.rs). */
export function traceOf(headers: ReadonlyMap<string, string>): string {
  const given = headers.get('traceparent') ?? ''
  return /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(given) ? given : newTrace()
}

/** The service that a peer says it dialled; only for telemetry, never for a decision. */
export function forwardedHost(headers: ReadonlyMap<string, string>): string | undefined {
  const forwarded = headers.get('forwarded') ?? ''
  if (forwarded.length > maxHeader) return undefined
  const parts = forwarded.split(';').map((part) => part.trim())
  const host = parts.find((part) => part.startsWith('host='))?.slice('host='.length)
  return host?.replace(/^"(.*)"$/, '$1').toLowerCase()
}

/** Seven names of Kubernetes' 253 characters at most, with their keys; what is longer is not from a mesh. */
const maxHeader = 4096
const workloadKeys = ['k8s.deployment.name', 'k8s.cronjob.name', 'k8s.pod.name', 'k8s.job.name']

/** What a peer of another network says about itself. For telemetry, like everything that a peer says. */
export function partyOf(baggage: string): Party | undefined {
  if (baggage === '' || baggage.length > maxHeader) return undefined
  const said = new Map<string, string>()
  for (const member of baggage.split(',')) {
    const at = member.indexOf('=')
    if (at > 0) said.set(member.slice(0, at).trim(), member.slice(at + 1).trim())
  }
  const of = (key: string) => said.get(key) ?? ''
  return {
    name: '',
    workloadName: workloadKeys.map(of).find((name) => name !== '') ?? '',
    canonicalName: of('service.name'),
    canonicalRevision: of('service.version'),
    namespace: of('k8s.namespace.name'),
    clusterId: of('k8s.cluster.name'),
    locality: { region: of('cloud.region'), zone: of('cloud.availability_zone') },
  }
}

/** Does the connection come from another network than ours, through a gateway (ztunnel: inbound.rs)? */
export function isFromElsewhere(headers: ReadonlyMap<string, string>, network: string): boolean {
  const from = headers.get('x-forwarded-network')
  return from !== undefined && from.toLowerCase() !== network.toLowerCase()
}
