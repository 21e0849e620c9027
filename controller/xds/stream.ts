import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import { messageOf } from '#base'
import type { Logger } from '#telemetry'
import type { ads } from '#wire'
import { changed, type Request, requested, respond, subscribed, type Subscription } from './delta.ts'
import { shortName, type XdsMetrics } from './metrics.ts'
import type { View } from './snapshot.ts'

export type Caller = Readonly<{
  namespace: string
  serviceAccount: string
  pod?: Readonly<{ name: string; uid: string }>
}>
export type Call = ServerDuplexStream<ads.DeltaDiscoveryRequest, ads.DeltaDiscoveryResponse>

export type StreamOptions = Readonly<{
  views: ReadonlyMap<string, View>
  caller: Caller
  /** Keys that a client on a node is given without asking. */
  nodeKey: (node: string) => string
  log: Logger
  metrics: XdsMetrics
}>

/** Names in one request; a client that asks for more at once wants the wildcard. */
const maxNamesPerRequest = 10_000
/** Names that one client may hold on to; beyond it the wildcard is cheaper for everybody. */
const maxAsked = 100_000

type Stage = Readonly<{ typeUrl: string; names: Set<string> }>
/** Publications that wait for a client in their order; a client slower than that gets the sum of them instead. */
const maxStages = 16

/** Why a stream is ended. */
type Refusal = Readonly<{ code: status; details: string }>

/** One client's stream: what it asked for per type, and what is on its way to it. */
export class AdsStream {
  readonly #call: Call
  readonly #options: StreamOptions
  readonly #types = new Map<string, Subscription>()
  readonly #sentMs = new Map<string, number>()
  #stages: Stage[] = []
  #node = ''
  #nonce = 0
  #ended = false

  constructor(call: Call, options: StreamOptions) {
    this.#call = call
    this.#options = options
  }

  /** Never throws: a request that cannot be served ends this stream and no other. */
  take(request: ads.DeltaDiscoveryRequest): void {
    if (this.#ended) return
    try {
      const refusal = this.#identify(request) ?? this.#receive(request)
      if (refusal) this.end(refusal)
    } catch (error) {
      this.#options.log.error('request failed', { error: messageOf(error) })
      this.end({ code: status.INTERNAL, details: 'request failed' })
    }
  }

  /** Something of a type was published. What is published later is sent later, also where types wait for their ACK. */
  published(typeUrl: string, names: readonly string[]): void {
    if (this.#ended || !this.#types.has(typeUrl)) return
    const last = this.#stages.at(-1)
    if (last?.typeUrl === typeUrl) for (const name of names) last.names.add(name)
    else this.#stages.push({ typeUrl, names: new Set(names) })
    this.#advance(this.#stages.length > maxStages)
  }

  end(refusal?: Refusal): void {
    if (this.#ended) return
    this.#ended = true
    if (!refusal) return void this.#call.end()
    const { caller, log } = this.#options
    log.warn('stream ended', {
      account: `${caller.namespace}/${caller.serviceAccount}`,
      reason: refusal.details,
    })
    this.#call.emit('error', refusal)
  }

  /** Takes stages in as long as their type may send; all of them at once when too many have gathered. */
  #advance(all = false): void {
    for (let stage = this.#stages[0]; stage; stage = this.#stages[0]) {
      const state = this.#types.get(stage.typeUrl)
      if (state?.awaiting !== undefined && !all) return
      this.#stages.shift()
      if (state) this.#types.set(stage.typeUrl, changed(state, [...stage.names]))
      this.#send(stage.typeUrl)
    }
  }

  /** The node that a client says it is must be of its own namespace and account (PILOT_ENABLE_XDS_IDENTITY_CHECK). */
  #identify({ node }: ads.DeltaDiscoveryRequest): Refusal | undefined {
    if (!node) return undefined
    const { caller } = this.#options
    const said = (key: string): unknown => node.metadata?.[key]
    const isOther = (key: string, own: string) =>
      said(key) !== undefined && said(key) !== '' && said(key) !== own
    if (isOther('NAMESPACE', caller.namespace) || isOther('SERVICE_ACCOUNT', caller.serviceAccount))
      return { code: status.PERMISSION_DENIED, details: 'node metadata does not match the identity' }
    const name = said('NODE_NAME')
    if (typeof name === 'string') this.#node = name
    return undefined
  }

  #receive(wire: ads.DeltaDiscoveryRequest): Refusal | undefined {
    const { typeUrl } = wire
    const { views, log, metrics, caller, nodeKey } = this.#options
    if (!views.has(typeUrl))
      return { code: status.INVALID_ARGUMENT, details: `type not served: ${typeUrl.slice(0, 200)}` }
    const request = requestOf(wire)
    if (request.subscribe.length + request.unsubscribe.length > maxNamesPerRequest)
      return { code: status.RESOURCE_EXHAUSTED, details: 'too many names in one request' }
    const before = this.#types.get(typeUrl)
    if (!before) {
      this.#types.set(typeUrl, subscribed(request, this.#node === '' ? [] : [nodeKey(this.#node)]))
      log.info('subscribed', {
        type: shortName(typeUrl),
        node: wire.node?.id,
        known: Object.keys(request.versions).length,
      })
    } else {
      const { state, note } = requested(before, request)
      if (state.asked.size > maxAsked) return { code: status.RESOURCE_EXHAUSTED, details: 'too many names' }
      this.#types.set(typeUrl, state)
      if (note === 'stale') metrics.staleNonces.inc({ type: shortName(typeUrl) })
      if (note === 'nack') {
        metrics.rejects.inc({ type: shortName(typeUrl) })
        // The client's message names the resources that it rejects and why.
        log.warn('client rejected resources', {
          type: shortName(typeUrl),
          pod: caller.pod?.name,
          error: request.error,
        })
      }
      if (note === 'ack') this.#converged(typeUrl)
    }
    this.#send(typeUrl)
    this.#advance()
    return undefined
  }

  #converged(typeUrl: string): void {
    const sentMs = this.#sentMs.get(typeUrl)
    if (sentMs !== undefined) this.#options.metrics.convergence.observe((performance.now() - sentMs) / 1000)
    this.#sentMs.delete(typeUrl)
  }

  #send(typeUrl: string): void {
    const before = this.#types.get(typeUrl)
    const view = this.#options.views.get(typeUrl)
    if (!before || !view) return
    const nonce = String(this.#nonce + 1)
    const { state, response } = respond(before, view, nonce)
    this.#types.set(typeUrl, state)
    if (!response) return
    this.#nonce++
    this.#sentMs.set(typeUrl, performance.now())
    this.#options.metrics.pushes.inc({ type: shortName(typeUrl) })
    // No wait for `drain`: at most one unacknowledged response per type is ever buffered here.
    this.#call.write({
      systemVersionInfo: '',
      typeUrl,
      nonce,
      resources: response.resources.map(({ name, version, aliases, any }) => ({
        name,
        version,
        aliases: [...aliases],
        resource: any,
        ttl: undefined,
      })),
      removedResources: [...response.removed],
    })
  }
}

const requestOf = (wire: ads.DeltaDiscoveryRequest): Request => ({
  subscribe: wire.resourceNamesSubscribe,
  unsubscribe: wire.resourceNamesUnsubscribe,
  versions: wire.initialResourceVersions,
  nonce: wire.responseNonce,
  error: wire.errorDetail?.message.slice(0, maxErrorChars),
})

/** Of a client's explanation of a NACK. */
const maxErrorChars = 2048
