import type { ExchangeEnd } from '#http'
import { type AccessFacts, celFactsOf, type Variants } from '../telemetry/index.ts'
import type { Answer, Call, Phase } from './call.ts'
import { deniedBy } from './authorise.ts'
import { endMessages } from './grpc-messages.ts'
import { labelFactsOf } from './label-facts.ts'
import { askedService, factsOf } from './line-facts.ts'
import { grpcOutcome } from './local-reply.ts'

/** Counts and logs the request when it is over; whatever became of it, it is told once. */
export const record: Phase = async (call, next) => {
  const startTime = new Date()
  const answer = await next(call)
  call.exchange.onEnd((end) => tell(call, startTime, answer, end))
  return answer
}

/** In the middle of whatever ends the request, which is not to fail of it. */
function tell(call: Call, startTime: Date, answer: Answer, end: ExchangeEnd): void {
  const { parts } = call
  try {
    call.permit?.close()
    noteEnd(call, answer, end)
    const service = askedService(call)
    const line = factsOf(call, startTime, answer, end.kind === 'complete')
    const variants = parts.variants(() => celFactsOf(line), service)
    count(call, line, variants)
    parts.accessLog(line, service)
  } catch (error) {
    parts.log.error('bug: a request could not be recorded', { error })
  }
}

/** An answer that was broken off has its reason in the flags (facts: l7.md §3.3). */
function noteEnd(call: Call, answer: Answer, end: ExchangeEnd): void {
  if (end.kind === 'complete') return
  if (call.revokedBy !== undefined) {
    call.details = deniedBy(call.revokedBy)
    return
  }
  if (call.stalled) {
    call.flags.push('SI')
    call.details = 'stream_idle_timeout'
    return
  }
  if (end.by === 'downstream' && end.reason === 'protocol-error') {
    // Its body could not be read: HTTP/1.1 answers so, a stream of HTTP/2 is reset.
    if (call.status === 0 && call.exchange.version === 'HTTP/1.1') call.status = 400
    call.flags.push('DPE')
    call.details = call.exchange.version === 'HTTP/1.1' ? 'http1.codec_error' : 'http2.violation'
    return
  }
  if (end.by === 'downstream' && end.reason === 'remote-reset') {
    // One request of a client that is still there.
    call.flags.push('DR')
    call.details = 'http2.remote_reset'
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

function count(call: Call, line: AccessFacts, variants: Variants | undefined): void {
  endMessages(call)
  const { source, sourceId, destination, destinationId, service, protocol } = labelFactsOf(call)
  call.parts.metrics.record(
    {
      source,
      sourceId,
      destination,
      destinationId,
      service,
      protocol,
      status: call.status,
      flags: line.responseFlags || '-',
      grpcStatus: grpcOutcome(call),
      durationMs: line.durationMs,
      requestBytes: line.requestHeaderBytes + line.bytesReceived,
      responseBytes: line.responseHeaderBytes + line.bytesSent,
    },
    variants,
  )
}
