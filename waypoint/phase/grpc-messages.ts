import type { Body } from '#http'
import type { Call } from './call.ts'
import { GrpcBody } from './grpc-body.ts'
import { celFactsOf } from '../telemetry/index.ts'
import { labelFactsOf } from './label-facts.ts'
import { askedService, factsOf } from './line-facts.ts'

/** Both directions of one call of gRPC, and who counts what comes by. */
export type GrpcMessages = {
  readonly request: GrpcBody
  response: GrpcBody | undefined
  counted: Disposable | undefined
  /** What the trailers say of the outcome. */
  trailer: string | undefined
}

/** The request's body, its messages counted. */
export function watchRequest(call: Call, body: Body): Body {
  const request = new GrpcBody(body)
  call.grpc = { request, response: undefined, counted: undefined, trailer: undefined }
  return request
}

/** The answer's body: what its trailers say of the outcome is the call's. From here on it is known who answers. */
export function watchResponse(call: Call, body: Body): Body {
  const { grpc } = call
  if (!grpc) return body
  grpc.response = new GrpcBody(body, (trailers) => {
    grpc.trailer = trailers?.get('grpc-status')
    call.grpcStatus = grpc.trailer ?? call.grpcStatus
  })
  grpc.counted = count(call, grpc)
  return grpc.response
}

/** The call is over. */
export function endMessages(call: Call): void {
  const { grpc } = call
  if (!grpc) return
  grpc.counted ??= count(call, grpc)
  grpc.counted[Symbol.dispose]()
}

function count(call: Call, grpc: GrpcMessages): Disposable {
  const facts = () => celFactsOf(factsOf(call, new Date(), { kind: 'gone' }))
  return call.parts.metrics.watchMessages(
    labelFactsOf(call),
    () => ({ requests: grpc.request.messages, responses: grpc.response?.messages ?? 0 }),
    call.parts.variants(facts, askedService(call)),
  )
}
