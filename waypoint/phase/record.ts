import { formatAddress } from '#base'
import type { ExchangeEnd, HeaderList } from '#http'
import type { HeaderMap } from '#telemetry'
import type { AccessFacts } from '../telemetry/index.ts'
import type { Answer, Call, Phase } from './call.ts'
import { deniedBy } from './authorise.ts'
import { endMessages } from './grpc-messages.ts'
import { labelFactsOf } from './label-facts.ts'
import { isGrpc } from './local-reply.ts'

/** Counts and logs the request when it is over; whatever became of it, it is told once. */
export const record: Phase = async (call, next) => {
  const startTime = new Date()
  const answer = await next()
  const end = await call.exchange.ended
  call.permit?.close()
  noteEnd(call, answer, end)
  count(call, answer)
  const { target } = call.facts
  const service = target.kind === 'service' ? target.service.key : undefined
  call.parts.accessLog(factsOf(call, startTime, answer), service)
  return answer
}

/** An answer that was broken off has its reason in the flags (facts: l7.md §3.3). */
function noteEnd(call: Call, answer: Answer, end: ExchangeEnd): void {
  if (end.kind === 'complete') return
  if (call.revokedBy !== undefined) {
    call.details = deniedBy(call.revokedBy)
    return
  }
  if (end.by === 'downstream' && end.reason === 'protocol-error') {
    // Its body could not be read: HTTP/1.1 answers so, a stream of HTTP/2 is reset.
    if (call.status === 0 && call.exchange.version === 'HTTP/1.1') call.status = 400
    call.flags.push('DPE')
    call.details = call.exchange.version === 'HTTP/1.1' ? 'http1.codec_error' : 'http2.violation'
    return
  }
  if (end.by === 'downstream' || answer.kind === 'gone') {
    call.flags.push('DC')
    call.details = 'downstream_remote_disconnect'
    return
  }
  const [flag, details] =
    end.reason === 'connection-termination' && !isCutShort(answer)
      ? ['UC', 'upstream_reset_after_response_started{connection_termination}']
      : end.reason === 'remote-reset'
        ? ['UR', 'upstream_reset_after_response_started{remote_reset}']
        : end.reason === 'timeout' || end.reason === 'local-reset'
          ? ['UT', 'response_timeout']
          : ['UPE', 'upstream_reset_after_response_started{protocol_error}']
  call.flags.push(flag)
  call.details = details
}

/** HTTP/1.1 says where a body ends: a connection that ends before that breaks its rules (Envoy: UPE). */
const isCutShort = (answer: Answer) =>
  answer.kind === 'upstream' && answer.response.version === 'HTTP/1.1' && answer.status !== 101

/** Of HTTP/1.1 on the wire, without the line before them. */
const headerBytes = ({ flat }: HeaderList) => flat.reduce((sum, text) => sum + text.length + 2, 2)

function count(call: Call, answer: Answer): void {
  const { exchange, parts } = call
  endMessages(call)
  parts.metrics.record({
    ...labelFactsOf(call),
    status: call.status,
    flags: flagsOf(call),
    grpcStatus: isGrpc(call) ? (call.grpcStatus ?? '') : '',
    durationMs: durationOf(call),
    requestBytes: headerBytes(exchange.request.headers) + exchange.receivedBytes,
    responseBytes: (answer.kind === 'gone' ? 0 : headerBytes(answer.headers)) + exchange.sentBytes,
  })
}

const flagsOf = ({ flags }: Call) => (flags.length === 0 ? '-' : [...new Set(flags)].join(','))

const durationOf = ({ exchange: { marks } }: Call) =>
  Math.round(Math.max(0, (marks.endedAt || performance.now()) - marks.startedAt))

function factsOf(call: Call, startTime: Date, answer: Answer): AccessFacts {
  const { exchange, facts, request, sent, route, status } = call
  const { marks } = exchange
  const since = (at: number) => (at === 0 ? undefined : Math.round(at - marks.startedAt))
  const rule = route && 'rule' in route ? route.rule : undefined
  const workload = sent?.host.workload
  return {
    startTime,
    method: request.method,
    scheme: request.scheme,
    // As it was judged, before a rule rewrote it (Envoy).
    path: request.headers.get('x-envoy-original-path') ?? request.path,
    authority: request.authority,
    protocol: exchange.version,
    upstreamProtocol: answer.kind === 'upstream' ? answer.response.version : undefined,
    header: (of, name) => fieldOf(call, answer, of, name),
    responseCode: status,
    responseFlags: flagsOf(call) === '-' ? '' : flagsOf(call),
    responseCodeDetails: call.details,
    grpcStatus: isGrpc(call) && call.grpcStatus !== undefined ? Number(call.grpcStatus) : undefined,
    upstreamTransportFailureReason: call.transportFailure,
    bytesReceived: exchange.receivedBytes,
    bytesSent: exchange.sentBytes,
    requestHeaderBytes: headerBytes(exchange.request.headers),
    responseHeaderBytes: answer.kind === 'gone' ? 0 : headerBytes(answer.headers),
    durationMs: durationOf(call),
    requestMs: since(marks.requestEndedAt),
    responseMs: since(marks.respondedAt),
    responseTxMs: marks.respondedAt === 0 ? undefined : Math.round(marks.endedAt - marks.respondedAt),
    tries: call.tries,
    upstreamHost: sent?.to && formatAddress(sent.to),
    upstreamName: workload && (workload.hostname || workload.name),
    upstreamCluster: clusterName(call),
    upstreamPeer: workload?.protocol === 'HBONE' ? workload.identity : undefined,
    downstreamLocalAddress: formatAddress(facts.local),
    downstreamRemoteAddress: formatAddress(facts.client),
    downstreamPeer: facts.peer,
    downstreamSelf: call.parts.identity,
    routeName: rule?.name ?? '',
  }
}

/** Of the request as it went upstream (Envoy), and of what was answered. */
function fieldOf(call: Call, answer: Answer, of: HeaderMap, name: string): string | undefined {
  if (of === 'request.headers') return call.request.headers.joined(name)
  if (of === 'response.headers') return answer.kind === 'gone' ? undefined : answer.headers.joined(name)
  // Of trailers only the outcome of gRPC is kept.
  return name === 'grpc-status' && call.grpc?.response ? call.grpcStatus : undefined
}

/** As Istio's waypoints name it, so that whoever reads logs by it finds it (facts: l7.md §3.9). */
function clusterName({ sent, facts }: Call): string | undefined {
  const cluster = sent?.cluster
  if (!cluster) return facts.target.kind === 'workload' ? 'inbound-vip|0|http|direct' : undefined
  const { port, subset } = cluster.policy.destination
  return `inbound-vip|${port}|http${subset === undefined ? '' : `/${subset}`}|${cluster.service.hostname}`
}
