/** What a line of the access log says; what is not there is printed as `-` (facts: l7.md §3.9). */
export type AccessFacts = Readonly<{
  startTime: Date
  method: string
  path: string
  protocol: string
  responseCode: number
  responseFlags: string
  responseCodeDetails: string
  connectionTerminationDetails?: string | undefined
  upstreamTransportFailureReason?: string | undefined
  bytesReceived: number
  bytesSent: number
  durationMs: number
  upstreamServiceTime?: number | undefined
  xForwardedFor?: string | undefined
  userAgent?: string | undefined
  requestId?: string | undefined
  authority: string
  upstreamHost?: string | undefined
  upstreamCluster?: string | undefined
  upstreamLocalAddress?: string | undefined
  downstreamLocalAddress: string
  downstreamRemoteAddress: string
  requestedServerName?: string | undefined
  routeName: string
}>

/** Writes one line per request. */
export type AccessLog = (facts: AccessFacts) => void

/** Longest text of a client that a line repeats. */
const maxText = 1_024

/** A client's text between quotes can end neither them nor the line (some take U+0085 for one's end), nor steer a terminal. */
// oxlint-disable-next-line no-control-regex
const unsafe = /["\\\u0000-\u001f\u007f-\u009f]/g
const safe = (text: string): string =>
  text.slice(0, maxText).replaceAll(unsafe, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)

const quoted = (text: string | undefined): string =>
  `"${text === undefined || text === '' ? '-' : safe(text)}"`
const plain = (value: string | number | undefined): string =>
  value === undefined || value === '' ? '-' : safe(`${value}`)

/** Envoy's default line, as Istio has it. */
export function textLine(f: AccessFacts): string {
  return [
    `[${f.startTime.toISOString()}]`,
    `"${plain(f.method)} ${plain(f.path)} ${f.protocol}"`,
    f.responseCode,
    plain(f.responseFlags),
    plain(f.responseCodeDetails),
    plain(f.connectionTerminationDetails),
    quoted(f.upstreamTransportFailureReason),
    f.bytesReceived,
    f.bytesSent,
    f.durationMs,
    plain(f.upstreamServiceTime),
    quoted(f.xForwardedFor),
    quoted(f.userAgent),
    quoted(f.requestId),
    quoted(f.authority),
    quoted(f.upstreamHost),
    plain(f.upstreamCluster),
    plain(f.upstreamLocalAddress),
    plain(f.downstreamLocalAddress),
    plain(f.downstreamRemoteAddress),
    plain(f.requestedServerName),
    plain(f.routeName),
  ].join(' ')
}

const orDash = (text: string | undefined) =>
  text === undefined || text === '' ? '-' : text.slice(0, maxText)

/** The same as an object, under Istio's keys. */
export function jsonLine(f: AccessFacts): string {
  return JSON.stringify({
    start_time: f.startTime.toISOString(),
    method: orDash(f.method),
    path: orDash(f.path),
    protocol: f.protocol,
    response_code: f.responseCode,
    response_flags: orDash(f.responseFlags),
    response_code_details: orDash(f.responseCodeDetails),
    connection_termination_details: orDash(f.connectionTerminationDetails),
    upstream_transport_failure_reason: orDash(f.upstreamTransportFailureReason),
    bytes_received: f.bytesReceived,
    bytes_sent: f.bytesSent,
    duration: f.durationMs,
    upstream_service_time: f.upstreamServiceTime === undefined ? '-' : `${f.upstreamServiceTime}`,
    x_forwarded_for: orDash(f.xForwardedFor),
    user_agent: orDash(f.userAgent),
    request_id: orDash(f.requestId),
    authority: orDash(f.authority),
    upstream_host: orDash(f.upstreamHost),
    upstream_cluster: orDash(f.upstreamCluster),
    upstream_local_address: orDash(f.upstreamLocalAddress),
    downstream_local_address: f.downstreamLocalAddress,
    downstream_remote_address: f.downstreamRemoteAddress,
    requested_server_name: orDash(f.requestedServerName),
    route_name: orDash(f.routeName),
  })
}

/** The log that the configuration asks for. */
export function accessLog(format: 'text' | 'json' | 'off', write: (line: string) => void): AccessLog {
  if (format === 'off') return () => undefined
  const lineOf = format === 'json' ? jsonLine : textLine
  return (facts) => write(lineOf(facts))
}
