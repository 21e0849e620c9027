import { messageOf } from '#base'
import { type HeaderList, relay } from '#http'
import type { Answer, Call, Phase } from './call.ts'
import { watchResponse } from './grpc-messages.ts'
import { grpcMessage, grpcStatusOf, isGrpc, localReply } from './local-reply.ts'

/** Says what the others have decided on; whatever they fail on is an answer too. */
export const respond: Phase = async (call, next) => {
  let answer: Answer
  try {
    answer = await next(call)
  } catch (error) {
    answer = failed(call, error)
  }
  try {
    write(call, answer)
  } catch (error) {
    call.parts.log.error('bug: an answer could not be written', { error: messageOf(error) })
    drop(answer)
    call.exchange.reset('local-reset')
  }
  return answer
}

function failed(call: Call, error: unknown): Answer {
  call.parts.log.error('bug: a request failed', {
    error: error instanceof Error ? error.stack : messageOf(error),
  })
  return localReply(call, { status: 500, details: 'internal_error' })
}

/** Nobody gets it: its upstream may stop. */
function drop(answer: Answer): void {
  if (answer.kind === 'upstream') answer.response.reset('local-reset')
}

const hasNoBody = (call: Call, status: number) =>
  call.exchange.request.method === 'HEAD' || status === 204 || status === 304

let dateSecond = 0
let dateText = ''

/** Of now; made once a second. */
function httpDate(): string {
  const second = Math.floor(Date.now() / 1_000)
  if (second !== dateSecond) {
    dateText = new Date(second * 1_000).toUTCString()
    dateSecond = second
  }
  return dateText
}

function write(call: Call, answer: Answer): void {
  const { exchange } = call
  if (exchange.responded) return drop(answer)
  if (answer.kind === 'gone') return exchange.reset('local-reset')
  call.status = answer.status
  const { headers } = answer
  // Istio's proxies call themselves so, whatever the upstream says (facts: l7.md §2.9).
  headers.set('server', 'istio-envoy')
  if (!headers.has('date')) headers.set('date', httpDate())
  for (const cookie of call.cookies) headers.add('set-cookie', cookie)
  if (answer.kind === 'local') return writeLocal(call, answer)
  const { response, status } = answer
  call.grpcStatus = headers.get('grpc-status')
  call.serviceMs = serviceMsOf(call)
  if (call.serviceMs !== undefined) headers.set('x-envoy-upstream-service-time', `${call.serviceMs}`)
  if (response.body.length === 0 || hasNoBody(call, status)) {
    exchange.respond({ status, headers }, 'none')
    return response.body.discard()
  }
  relay(watchResponse(call, response.body), exchange.respond({ status, headers }, 'follows'))
}

/** From the whole request to the answer, tries that failed included; unknown while the client still sends (Envoy). */
function serviceMsOf({ exchange: { marks, request } }: Call): number | undefined {
  if (marks.requestEndedAt === 0 || request.upgrade !== undefined) return undefined
  return Math.round(performance.now() - marks.requestEndedAt)
}

function writeLocal(call: Call, { status, headers, body }: Extract<Answer, { kind: 'local' }>): void {
  const { exchange } = call
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  // Nobody reads what else the client sends.
  if (!exchange.body.received && exchange.body.length !== 0) exchange.body.discard()
  if (isGrpc(call)) return writeGrpc(call, status, headers, bytes)
  if (bytes.length > 0 && !headers.has('content-type')) headers.set('content-type', 'text/plain')
  if (bytes.length > 0) headers.set('content-length', `${bytes.length}`)
  if (bytes.length === 0 || hasNoBody(call, status)) {
    exchange.respond({ status, headers }, 'none')
    return
  }
  const writer = exchange.respond({ status, headers }, 'follows')
  writer.write(bytes, 0, bytes.length)
  writer.end()
}

/** Trailers alone: a gRPC caller wants 200 and finds the outcome beside it. */
function writeGrpc(call: Call, status: number, headers: HeaderList, body: Buffer): void {
  const grpcStatus = headers.get('grpc-status') ?? `${grpcStatusOf(status)}`
  headers.set('content-type', 'application/grpc')
  headers.set('grpc-status', grpcStatus)
  if (body.length > 0) headers.set('grpc-message', grpcMessage(body.toString()))
  call.grpcStatus = grpcStatus
  call.status = 200
  call.exchange.respond({ status: 200, headers }, 'none')
}
