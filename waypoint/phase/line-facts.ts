import { formatAddress, type SocketAddress } from '#base'
import type { HeaderList } from '#http'
import type { ServiceKey } from '#mesh'
import { type Destination, headerOf } from '#routes'
import type { HeaderMap } from '#telemetry'
import type { AccessFacts } from '../telemetry/index.ts'
import type { Host } from '../upstream/index.ts'
import type { Answer, Call } from './call.ts'
import { grpcOutcome } from './local-reply.ts'

/** Of the service that was asked for, whatever the request was sent to. */
export const askedService = ({ facts: { target } }: Call): ServiceKey | undefined =>
  target.kind === 'service' ? target.service.key : undefined

/** Of HTTP/1.1 on the wire, without the line before them. */
function headerBytes({ flat }: HeaderList): number {
  let sum = 2
  for (const text of flat) sum += text.length + 2
  return sum
}

/** '' for none. */
const flagsOf = ({ flags }: Call) => (flags.length === 0 ? '' : [...new Set(flags)].join(','))

const durationOf = ({ exchange: { marks } }: Call) =>
  Math.round(Math.max(0, (marks.endedAt || performance.now()) - marks.startedAt))

const texts = new WeakMap<SocketAddress, string>()

/** Those of a connection are the same objects for all its requests; they are replaced, never changed. */
function addressText(address: SocketAddress): string {
  const known = texts.get(address)
  if (known !== undefined) return known
  const made = formatAddress(address)
  texts.set(address, made)
  return made
}

const hostTexts = new WeakMap<Host, Readonly<{ to: SocketAddress; text: string }>>()

/** A host may be elsewhere by now. */
function hostText(host: Host, to: SocketAddress): string {
  const known = hostTexts.get(host)
  if (known && known.to.address === to.address && known.to.port === to.port) return known.text
  const text = formatAddress(to)
  hostTexts.set(host, { to, text })
  return text
}

/** Before a rule rewrote it (Envoy). Who is refused before that may have sent the field himself. */
const judgedPath = ({ request, route }: Call) =>
  route?.kind === 'forward' ? (request.headers.get('x-envoy-original-path') ?? request.path) : request.path

/** What is told of a request, once it is over or as far as it is known. */
export function factsOf(call: Call, startTime: Date, answer: Answer, isWhole = true): AccessFacts {
  const { exchange, facts, request, sent, route, status } = call
  const { marks } = exchange
  const since = (at: number) => (at === 0 ? undefined : Math.round(at - marks.startedAt))
  const rule = route && 'rule' in route ? route.rule : undefined
  const workload = sent?.host.workload
  const isUpstreams = answer.kind === 'upstream'
  const outcome = grpcOutcome(call)
  return {
    startTime,
    method: request.method,
    scheme: request.scheme,
    path: judgedPath(call),
    authority: request.authority,
    protocol: exchange.version,
    upstreamProtocol: call.upstreamVersion,
    header: (of, name) => fieldOf(call, answer, of, name),
    responseCode: status,
    responseFlags: flagsOf(call),
    responseCodeDetails: call.details,
    grpcStatus: outcome === '' ? undefined : Number(outcome),
    upstreamTransportFailureReason: call.transportFailure,
    bytesReceived: exchange.receivedBytes,
    bytesSent: exchange.sentBytes,
    requestHeaderBytes: headerBytes(exchange.request.headers),
    responseHeaderBytes: answer.kind === 'gone' ? 0 : headerBytes(answer.headers),
    durationMs: durationOf(call),
    requestMs: since(marks.requestEndedAt),
    responseMs: isUpstreams ? since(marks.respondedAt) : undefined,
    responseTxMs: isUpstreams && isWhole ? Math.round(marks.endedAt - marks.respondedAt) : undefined,
    tries: call.tries,
    upstreamHost: sent?.to && hostText(sent.host, sent.to),
    upstreamName: workload && (workload.hostname || workload.name),
    upstreamCluster: clusterName(call),
    upstreamPeer: workload?.protocol === 'HBONE' ? workload.identity : undefined,
    downstreamLocalAddress: addressText(facts.local),
    downstreamRemoteAddress: addressText(facts.client),
    downstreamPeer: facts.peer,
    downstreamSelf: call.parts.identity,
    routeName: rule?.name ?? '',
  }
}

/** Of the request as it went upstream (Envoy), and of what was answered. */
function fieldOf(call: Call, answer: Answer, of: HeaderMap, name: string): string | undefined {
  if (of === 'request.headers') return headerOf(call.request, name)
  if (of === 'response.headers') return answer.kind === 'gone' ? undefined : answer.headers.joined(name)
  // Of trailers only the outcome of gRPC is kept.
  return name === 'grpc-status' ? call.grpc?.trailer : undefined
}

const clusterTexts = new WeakMap<Destination, string>()

/** As Istio's waypoints name it, so that whoever reads logs by it finds it (facts: l7.md §3.9): also of whom nothing was sent to. */
function clusterName({ route, facts }: Call): string | undefined {
  if (facts.target.kind === 'workload') return 'inbound-vip|0|http|direct'
  if (route?.kind !== 'forward') return undefined
  const known = clusterTexts.get(route.to)
  if (known !== undefined) return known
  const { service, port, subset } = route.to
  const hostname = service.slice(service.indexOf('/') + 1)
  const text = `inbound-vip|${port}|http${subset === undefined ? '' : `/${subset}`}|${hostname}`
  clusterTexts.set(route.to, text)
  return text
}
