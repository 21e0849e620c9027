import type { LabelFacts } from '../telemetry/index.ts'
import type { Call } from './call.ts'
import { isGrpc } from './local-reply.ts'

/** Who calls whom, for the labels of series. */
export function labelFactsOf(call: Call): LabelFacts {
  const { facts, sent } = call
  const destination = sent?.host.workload
  return {
    source: facts.source,
    sourceId: facts.peer,
    destination,
    destinationId: destination?.protocol === 'HBONE' ? destination.identity : undefined,
    service: sent?.cluster?.service ?? facts.service,
    protocol: isGrpc(call) ? 'grpc' : 'http',
  }
}
