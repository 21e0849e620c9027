import { MeshError, messageOf, type SocketAddress } from '#base'
import type { Logger } from '#telemetry'
import { isLoopback, type MeshState, type PodName } from '../state/index.ts'
import { type AddressFamily, answer, type Answer, type Client } from './answer.ts'
import type { OpenSocket } from './ask.ts'
import type { InFlight, Rate } from './budget.ts'
import { forward } from './forward.ts'
import { classes, parseQuery, type Query, rcodes, types } from './message.ts'
import { type DnsMetrics, typeName } from './metrics.ts'
import { addressReply, bareReply, emptyReply, limitOf, relayedReply, type Transport } from './reply.ts'
import type { Times } from './times.ts'

/** What the questions of one pod are answered with. */
export type Resolver = Readonly<{
  state: MeshState
  pod: PodName
  client: Client
  /** Where to, if it is not known whom the app meant to ask. */
  nameservers: () => readonly SocketAddress[]
  open: OpenSocket
  /** Of all questions. */
  rate: Rate
  /** Of forwarded questions. */
  inFlight: InFlight
  /** Room for the descriptors of one forwarded question. */
  admit: () => Disposable | undefined
  metrics: DnsMetrics
  log: Logger
  times: Times
  signal: AbortSignal
}>

/** A message to answer. `asked`: the server that the app meant, where the redirect can be looked through. */
type Request = Readonly<{
  bytes: Buffer
  transport: Transport
  asked: () => SocketAddress | undefined
}>

/** The reply at once, or when an upstream has answered; undefined where silence is right. Never throws or rejects. */
export function handleMessage(resolver: Resolver, request: Request): Buffer | undefined | Promise<Buffer> {
  const { bytes, transport } = request
  const parsed = parseQuery(bytes)
  switch (parsed.kind) {
    case 'query':
      return handleQuery(resolver, request, parsed.query)
    case 'bad':
      resolver.metrics.refused('malformed')
      return bareReply(bytes, parsed.rcode)
    case 'no-query':
      resolver.metrics.refused('malformed')
      // Over UDP the source may be forged, and two that answer answers never stop.
      return parsed.reason === 'response' && transport === 'tcp'
        ? bareReply(bytes, rcodes.FORMERR)
        : undefined
  }
}

function handleQuery(resolver: Resolver, request: Request, query: Query): Buffer | Promise<Buffer> {
  const { state, pod, client, metrics } = resolver
  const { question } = query
  const { transport } = request
  metrics.request({ type: question.type, transport, source: state.localWorkload(pod) })
  if (query.edns && query.edns.version > 0) {
    note(resolver, query, 'bad EDNS version', 0)
    return emptyReply(query, rcodes.BADVERS)
  }
  const decision = answer(state, question.name, familyOf(query), client)
  switch (decision.kind) {
    case 'addresses':
      note(resolver, query, 'success', decision.addresses.length)
      return addressReply(query, decision.addresses, decision.cname, limitOf(query, transport))
    case 'no-data':
      note(resolver, query, `no data: ${decision.reason}`, 0)
      return emptyReply(query, rcodes.NOERROR, true)
    case 'forward':
      return forwardQuery(resolver, request, query, decision)
  }
}

function familyOf({ question }: Query): AddressFamily | undefined {
  if (question.class !== classes.IN) return undefined
  if (question.type === types.A) return 'ipv4'
  return question.type === types.AAAA ? 'ipv6' : undefined
}

async function forwardQuery(
  resolver: Resolver,
  { transport, asked }: Request,
  query: Query,
  { exists }: Extract<Answer, { kind: 'forward' }>,
): Promise<Buffer> {
  const { state, pod, metrics, open, times, signal } = resolver
  using room = resolver.inFlight.take()
  using descriptors = room && resolver.admit()
  if (!room || !descriptors) {
    metrics.refused('in-flight')
    note(resolver, query, 'refused: too many in flight', 0)
    return emptyReply(query, rcodes.SERVFAIL)
  }
  const labels = { type: query.question.type, transport, source: state.localWorkload(pod) }
  const begun = performance.now()
  const done = (failed: boolean) => metrics.upstream(labels, (performance.now() - begun) / 1_000, failed)
  try {
    const servers = serversFor(asked(), resolver.nameservers())
    const reply = await forward(query, { servers, transport, open, times, signal })
    done(false)
    note(resolver, query, `forwarded: ${rcodeName(reply.rcode)}`, 0)
    return relayedReply(query, reply.bytes, { limit: limitOf(query, transport), exists })
  } catch (error) {
    done(true)
    note(resolver, query, `failed: ${messageOf(error)}`, 0)
    if (!(error instanceof MeshError)) resolver.log.error('DNS query failed', { error: messageOf(error) })
    return emptyReply(query, rcodes.SERVFAIL)
  }
}

/** The server that the app asked, for it is its own resolver's choice; ours where there was no redirect. */
function serversFor(
  asked: SocketAddress | undefined,
  configured: readonly SocketAddress[],
): readonly SocketAddress[] {
  // An address of the pod's own loopback was asked directly, and is this very proxy.
  return asked === undefined || isLoopback(asked.address) ? configured : [asked]
}

const names = Object.entries(rcodes)
const rcodeName = (rcode: number): string =>
  names.find(([, number]) => number === rcode)?.[0] ?? `rcode ${rcode}`

/** The DNS access log, under ztunnel's keys. */
function note({ log, pod, state }: Resolver, { question }: Query, result: string, endpoints: number): void {
  if (!log.enabled('debug')) return
  log.debug('dns query', {
    'src.workload': state.localWorkload(pod)?.name ?? pod.name,
    'src.namespace': pod.namespace,
    query: typeName(question.type),
    domain: question.name,
    result,
    endpoints,
  })
}
