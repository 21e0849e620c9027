import type { Service, ServiceKey } from '#mesh'
import type { LabelFacts } from '../telemetry/index.ts'
import type { Call } from './call.ts'
import { isGrpc } from './local-reply.ts'

/** Of the rule's destination, though nothing was sent to it. */
function chosenService({ route, facts, parts }: Call): Service | undefined {
  if (route?.kind !== 'forward' || facts.target.kind === 'workload') return undefined
  return parts.leaving.state.service(route.to.service as ServiceKey)
}

/** Who calls whom, for the labels of series. */
export function labelFactsOf(call: Call): LabelFacts {
  const { facts, sent } = call
  const destination = sent?.host.workload
  return {
    source: facts.source,
    sourceId: facts.peer,
    destination,
    destinationId: destination?.protocol === 'HBONE' ? destination.identity : undefined,
    service: sent?.cluster?.service ?? chosenService(call) ?? facts.service,
    protocol: isGrpc(call) ? 'grpc' : 'http',
  }
}
