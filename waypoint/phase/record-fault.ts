import { STATUS_CODES } from 'node:http'
import { formatAddress } from '#base'
import { type FaultAnswer, HeaderList, type HttpFault } from '#http'
import type { AccessFacts } from '../telemetry/index.ts'
import type { HttpFacts, HttpParts } from './call.ts'

/** Envoy's words for some faults; the others are its `codec_error` (facts: l7.md §3.3). */
const knownDetails: Readonly<Record<string, string>> = {
  'head too large': 'http1.headers_too_large',
  'too many header fields': 'http1.too_many_headers',
  'HTTP/1.0': 'low_version',
  'head took too long': 'request_header_timeout',
  'no Host': 'missing_host_header',
  'no room for the head': 'overload',
}
const withoutHost = 'no Host'

const faultDetails = ({ reason }: HttpFault): string => knownDetails[reason] ?? 'http1.codec_error'

/** What somebody is told whose request cannot be read. */
export function faultAnswer({ status, reason }: HttpFault): FaultAnswer {
  const headers = HeaderList.of({ server: 'istio-envoy', date: new Date().toUTCString() })
  if (reason === withoutHost) return { headers, body: '' }
  headers.set('content-type', 'text/plain')
  return { headers, body: STATUS_CODES[status] ?? '' }
}

/** Counts and logs what never became a request. */
export function recordFault(fault: HttpFault, facts: HttpFacts, parts: HttpParts): void {
  const { status, reason } = fault
  const flags = reason === withoutHost ? '-' : status === 503 ? 'UO' : 'DPE'
  const bytesSent = faultAnswer(fault).body.length
  parts.metrics.record({
    source: facts.source,
    sourceId: facts.peer,
    destination: undefined,
    destinationId: undefined,
    service: facts.service,
    protocol: 'http',
    status,
    flags,
    grpcStatus: '',
    durationMs: 0,
    requestBytes: 0,
    responseBytes: bytesSent,
  })
  const line: AccessFacts = {
    startTime: new Date(),
    method: '',
    scheme: '',
    path: '',
    header: () => undefined,
    protocol: 'HTTP/1.1',
    responseCode: status,
    responseFlags: flags === '-' ? '' : flags,
    responseCodeDetails: faultDetails(fault),
    bytesReceived: 0,
    bytesSent,
    requestHeaderBytes: 0,
    responseHeaderBytes: 0,
    durationMs: 0,
    tries: 0,
    authority: '',
    downstreamLocalAddress: formatAddress(facts.local),
    downstreamRemoteAddress: formatAddress(facts.client),
    downstreamPeer: facts.peer,
    downstreamSelf: parts.identity,
    routeName: '',
  }
  parts.accessLog(line, facts.service?.key)
}
