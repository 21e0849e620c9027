import type { HeaderMap } from '#telemetry'

/** What is known of a request that is over: of this lines are made, and expressions are asked about it. */
export type AccessFacts = Readonly<{
  startTime: Date
  /** '' for what could not be read; so for the path and the authority. */
  method: string
  scheme: string
  /** With its query, as it was judged. */
  path: string
  authority: string
  protocol: string
  upstreamProtocol?: string | undefined
  /** Fields of messages; names are in lower case. */
  header(of: HeaderMap, name: string): string | undefined
  /** 0: there was no answer. */
  responseCode: number
  /** '' for none. */
  responseFlags: string
  responseCodeDetails: string
  grpcStatus?: number | undefined
  upstreamTransportFailureReason?: string | undefined
  bytesReceived: number
  bytesSent: number
  requestHeaderBytes: number
  responseHeaderBytes: number
  durationMs: number
  /** From the first byte: to the last of the request, to the head of the answer. */
  requestMs?: number | undefined
  responseMs?: number | undefined
  /** From the head of the answer to its last byte. */
  responseTxMs?: number | undefined
  tries: number
  upstreamHost?: string | undefined
  upstreamName?: string | undefined
  upstreamCluster?: string | undefined
  upstreamPeer?: string | undefined
  downstreamLocalAddress: string
  downstreamRemoteAddress: string
  downstreamPeer: string
  downstreamSelf: string
  routeName: string
}>

/** Of `a.b.c.d:port` and `[…]:port`. */
export function addressParts(text: string): Readonly<{ address: string; port: number }> {
  const at = text.lastIndexOf(':')
  return { address: text.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(text.slice(at + 1)) }
}

/** The path without its query. */
export const pathOnly = (path: string): string => path.split('?', 1)[0] ?? ''
/** What is after the question mark; undefined without one. */
export function queryOf(path: string): string | undefined {
  const at = path.indexOf('?')
  return at < 0 ? undefined : path.slice(at + 1)
}

/** How a field of the request is read that formats name: `:path` and the like are fields too. Undefined: it is never there. */
export function requestField(name: string): ((facts: AccessFacts) => string | undefined) | undefined {
  switch (name) {
    case ':method':
      return ({ method }) => method
    case ':path':
      return ({ path }) => path
    case ':authority':
    case 'host':
      return ({ authority }) => authority
    case ':scheme':
      return ({ scheme }) => scheme
    case 'x-envoy-original-path':
      // What is known as the path is the one before it was rewritten.
      return undefined
    default:
      return (facts) => facts.header('request.headers', name)
  }
}
