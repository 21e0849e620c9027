import type { CelFacts, CelValue } from '#telemetry'
import { type AccessFacts, addressParts, pathOnly, queryOf } from './access-facts.ts'

type Ask = (facts: AccessFacts) => CelValue | undefined
const header =
  (name: string): Ask =>
  (facts) =>
    facts.header('request.headers', name)
const address =
  (of: (facts: AccessFacts) => string | undefined): Ask =>
  (facts) =>
    of(facts)
const port =
  (of: (facts: AccessFacts) => string | undefined): Ask =>
  (facts) => {
    const text = of(facts)
    return text === undefined ? undefined : addressParts(text).port
  }

/** By the name of each attribute that expressions may ask for. */
export const attributes: Readonly<Record<string, Ask>> = {
  'request.path': ({ path }) => path,
  'request.url_path': ({ path }) => pathOnly(path),
  'request.query': ({ path }) => queryOf(path) ?? '',
  'request.host': ({ authority }) => authority,
  'request.scheme': ({ scheme }) => scheme,
  'request.method': ({ method }) => method,
  'request.referer': header('referer'),
  'request.useragent': header('user-agent'),
  'request.id': header('x-request-id'),
  'request.protocol': ({ protocol }) => protocol,
  'request.size': ({ bytesReceived }) => bytesReceived,
  'request.total_size': ({ bytesReceived, requestHeaderBytes }) => bytesReceived + requestHeaderBytes,
  'response.code': ({ responseCode }) => responseCode,
  'response.code_details': ({ responseCodeDetails }) => responseCodeDetails || undefined,
  'response.grpc_status': ({ grpcStatus }) => grpcStatus,
  'response.size': ({ bytesSent }) => bytesSent,
  'response.total_size': ({ bytesSent, responseHeaderBytes }) => bytesSent + responseHeaderBytes,
  'source.address': address(({ downstreamRemoteAddress }) => downstreamRemoteAddress),
  'source.port': port(({ downstreamRemoteAddress }) => downstreamRemoteAddress),
  'destination.address': address(({ downstreamLocalAddress }) => downstreamLocalAddress),
  'destination.port': port(({ downstreamLocalAddress }) => downstreamLocalAddress),
  'upstream.address': address(({ upstreamHost }) => upstreamHost),
  'upstream.port': port(({ upstreamHost }) => upstreamHost),
  'connection.mtls': () => true,
  'connection.tls_version': () => 'TLSv1.3',
  'connection.uri_san_peer_certificate': ({ downstreamPeer }) => downstreamPeer,
  'connection.uri_san_local_certificate': ({ downstreamSelf }) => downstreamSelf,
  'xds.route_name': ({ routeName }) => routeName || undefined,
  'xds.cluster_name': ({ upstreamCluster }) => upstreamCluster,
}

/** What expressions ask of a request. */
export const celFactsOf = (facts: AccessFacts): CelFacts => ({
  attribute: (name) => attributes[name]?.(facts),
  header: (of, name) => facts.header(of, name),
})

type ConnectionFacts = Pick<
  AccessFacts,
  'downstreamRemoteAddress' | 'downstreamLocalAddress' | 'downstreamPeer' | 'downstreamSelf' | 'upstreamHost'
>
const ofConnections = /^(?:source|destination|upstream|connection)\./

/** The same of a connection that is not HTTP: there is no request to ask about. */
export const connectionCelFacts = (facts: ConnectionFacts): CelFacts => ({
  attribute: (name) =>
    ofConnections.test(name) ? attributes[name]?.({ ...connectionLine, ...facts }) : undefined,
  header: () => undefined,
})

/** What the facts of a connection without requests have in common. */
export const connectionLine: Omit<AccessFacts, keyof ConnectionFacts> = {
  startTime: new Date(0),
  method: '',
  scheme: '',
  path: '',
  authority: '',
  protocol: '',
  header: () => undefined,
  responseCode: 0,
  responseFlags: '',
  responseCodeDetails: '',
  bytesReceived: 0,
  bytesSent: 0,
  requestHeaderBytes: 0,
  responseHeaderBytes: 0,
  durationMs: 0,
  tries: 0,
  routeName: '',
}
