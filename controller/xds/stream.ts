import { status } from '@grpc/grpc-js'
import { messageOf } from '#base'
import type { Logger } from '#telemetry'
import type { ads } from '#wire'
import { Allowance } from './allowance.ts'
import { type ClientStatus, nodeFacts, type TypeStatus, unsent } from './client-status.ts'
import {
  changed,
  isRepeated,
  mostBytes,
  type Note,
  type Request,
  requested,
  respond,
  subscribed,
  type Subscription,
} from './delta.ts'
import { type Holdings, holdingsOf } from './holdings.ts'
import { shortName, type XdsMetrics } from './metrics.ts'
import type { Permit, SendBudget } from './send-budget.ts'
import { bytesOf, type Outgoing } from './service.ts'
import type { View } from './snapshot.ts'

export type Caller = Readonly<{
  namespace: string
  serviceAccount: string
  pod?: Readonly<{ name: string; uid: string }>
}>

/** Where a stream's responses go. */
export type Outlet = Readonly<{
  /** `taken` is called when the transport has passed it on, which it does as fast as the client reads. */
  write(response: Outgoing, taken: (failed?: boolean) => void): void
  end(refusal?: Refusal): void
}>

type StreamOptions = Readonly<{
  views: ReadonlyMap<string, View>
  caller: Caller
  /** Types whose resources others name: what is there of them goes before any other. */
  referredTo?: readonly string[]
  /** Keys that a client on a node is given without asking. */
  nodeKey: (node: string) => string
  /** Shared by all streams. */
  budget: SendBudget
  /** A client that does not read a response for so long is let go. */
  sendTimeoutMs: number
  /** This client does not take resources of a type, and says which and why. */
  rejected?: (typeUrl: string, error: string) => void
  log: Logger
  metrics: XdsMetrics
}>

/** Names in one request; a client that asks for more at once wants the wildcard. */
const maxNamesPerRequest = 10_000
/** Names that one client may hold on to; beyond it the wildcard is cheaper for everybody. */
const maxAsked = 100_000

/** The lists of names are those of the publications, the same for all clients that wait. */
type Stage = { readonly typeUrl: string; readonly sinceMs: number; lists: readonly (readonly string[])[] }
/** Publications of one type that wait as they are; then they become one list, in which a name is once. */
const maxLists = 32
/** Publications that wait for a client in their order; one slower than that gets the sum of them, per type. */
const maxStages = 16

/** What a response may have at most to be sent without asking for room: two of them per stream are no danger. */
const smallBytes = 64 << 10

/** Answers to what was answered already: a hundred bytes of question may have the whole mesh as their answer. */
const repeats = { burst: 10, perSecond: 1 } as const

/** Why a stream is ended. */
export type Refusal = Readonly<{ code: status; details: string }>
/** The transport still holds what it was given, until the client reads after all or its connection ends. */
export const notReading: Refusal = { code: status.UNAVAILABLE, details: 'client does not read' }

/** One client's stream: what it asked for per type, and what is on its way to it. */
export class AdsStream {
  readonly #outlet: Outlet
  readonly #options: StreamOptions
  readonly #types = new Map<string, Subscription>()
  readonly #sentMs = new Map<string, number>()
  /** Types whose response waits for room. */
  readonly #waiting = new Map<string, Disposable | undefined>()
  /** Responses that the transport has not passed on yet. */
  readonly #onTheirWay = new Set<Readonly<{ permit: Permit | undefined; timer: NodeJS.Timeout }>>()
  /** Types that are not answered for a while, as the client asks for the same again and again. */
  readonly #heldBack = new Map<string, NodeJS.Timeout>()
  readonly #repeats = new Allowance(repeats)
  readonly #synced = new Map<string, TypeStatus>()
  readonly #connectedAt = new Date()
  #facts = { nodeId: '', cluster: '', namespace: '', version: '' }
  #stages: Stage[] = []
  #node = ''
  #nonce = 0
  #ended = false

  constructor(outlet: Outlet, options: StreamOptions) {
    this.#outlet = outlet
    this.#options = options
  }

  /** Never throws: a request that cannot be served ends this stream and no other. */
  take(request: ads.DeltaDiscoveryRequest): void {
    if (this.#ended) return
    try {
      const refusal = this.#identify(request) ?? this.#receive(request)
      if (refusal) this.end(refusal)
    } catch (error) {
      this.#options.metrics.internalErrors.inc()
      this.#options.log.error('request failed', { error: messageOf(error) })
      this.end({ code: status.INTERNAL, details: 'request failed' })
    }
  }

  /** Something of a type was published. What is published later is sent later, also where types wait for their ACK. */
  published(typeUrl: string, names: readonly string[]): void {
    if (this.#ended || !this.#types.has(typeUrl)) return
    const last = this.#stages.at(-1)
    if (last?.typeUrl === typeUrl)
      last.lists =
        last.lists.length < maxLists
          ? [...last.lists, names]
          : [[...new Set([...last.lists.flat(), ...names])]]
    else this.#stages.push({ typeUrl, lists: [names], sinceMs: performance.now() })
    if (this.#stages.length > maxStages) this.#gather()
    this.#advance()
  }

  /** One stage per type. Those that others name come last: what is there of them is brought forward, what is gone may wait. */
  #gather(): void {
    const { referredTo = [] } = this.#options
    const ofType = Map.groupBy(this.#stages, ({ typeUrl }) => typeUrl)
    this.#stages = [...ofType]
      .sort(([a], [b]) => Number(referredTo.includes(a)) - Number(referredTo.includes(b)))
      .map(([typeUrl, stages]) => ({
        typeUrl,
        sinceMs: Math.min(...stages.map(({ sinceMs }) => sinceMs)),
        lists: [[...new Set(stages.flatMap(({ lists }) => lists.flat()))]],
      }))
  }

  end(refusal?: Refusal): void {
    if (this.#ended) return
    this.#ended = true
    for (const waiting of this.#waiting.values()) waiting?.[Symbol.dispose]()
    for (const timer of this.#heldBack.values()) clearTimeout(timer)
    const { caller, log } = this.#options
    if (refusal)
      log.warn('stream ended', {
        account: `${caller.namespace}/${caller.serviceAccount}`,
        reason: refusal.details,
      })
    this.#outlet.end(refusal)
    for (const sent of this.#onTheirWay) this.#taken(sent) // last: what this lets in is not to be another of the same
  }

  /** What this client has, as far as it has said so. */
  status(peer: string): ClientStatus {
    const types = new Map(this.#synced)
    return {
      ...this.#facts,
      peer,
      connectedAt: this.#connectedAt,
      types,
      holdings: () => this.#holdings(),
    }
  }

  #holdings(): readonly Holdings[] {
    return [...this.#types].flatMap(([typeUrl, state]) => {
      const view = this.#options.views.get(typeUrl)
      const waiting = this.#stages.flatMap((stage) => (stage.typeUrl === typeUrl ? stage.lists.flat() : []))
      return view ? [holdingsOf(typeUrl, state, view, waiting)] : []
    })
  }

  #note(typeUrl: string, news: Partial<TypeStatus>): void {
    this.#synced.set(typeUrl, { ...(this.#synced.get(typeUrl) ?? unsent), ...news })
  }

  /** Takes stages in as long as their type may send. */
  #advance(): void {
    for (let stage = this.#stages[0]; stage; stage = this.#stages[0]) {
      const state = this.#types.get(stage.typeUrl)
      const isBusy = state?.awaiting !== undefined || this.#heldBack.has(stage.typeUrl)
      if (isBusy || this.#waiting.size > 0) return
      this.#stages.shift()
      this.#options.metrics.queue.observe((performance.now() - stage.sinceMs) / 1000)
      if (state) this.#types.set(stage.typeUrl, changed(state, stage.lists.flat()))
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
    this.#facts = nodeFacts(node)
    return undefined
  }

  #receive(wire: ads.DeltaDiscoveryRequest): Refusal | undefined {
    const { typeUrl } = wire
    const { views, log, nodeKey } = this.#options
    if (!views.has(typeUrl))
      return { code: status.INVALID_ARGUMENT, details: `type not served: ${typeUrl.slice(0, 200)}` }
    const request = requestOf(wire)
    if (request.subscribe.length + request.unsubscribe.length > maxNamesPerRequest)
      return { code: status.RESOURCE_EXHAUSTED, details: 'too many names in one request' }
    const before = this.#types.get(typeUrl)
    if (!before) {
      this.#note(typeUrl, {})
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
      if (isRepeated(before, request)) this.#holdBack(typeUrl)
      this.#heard(typeUrl, note, request)
    }
    this.#goOn(typeUrl)
    return undefined
  }

  /** What a request says about a response. */
  #heard(typeUrl: string, note: Note, { nonce, error = '' }: Request): void {
    const { metrics, log, caller, rejected } = this.#options
    const type = shortName(typeUrl)
    if (note === 'stale') metrics.staleNonces.inc({ type })
    if (note === 'ack') this.#converged(typeUrl, nonce)
    if (note !== 'nack') return
    this.#note(typeUrl, { lastError: error })
    metrics.rejects.inc({ type })
    // The client's message names the resources that it rejects and why.
    log.warn('client rejected resources', { type, pod: caller.pod?.name, error })
    rejected?.(typeUrl, error)
  }

  /** It has what it asks for. A few times that is answered at once, then once a second. */
  #holdBack(typeUrl: string): void {
    if (this.#heldBack.has(typeUrl) || this.#repeats.take()) return
    const { log, caller } = this.#options
    log.warn('client asks for the same again and again', { type: shortName(typeUrl), pod: caller.pod?.name })
    this.#wait(typeUrl)
  }

  #wait(typeUrl: string): void {
    const goOn = () => {
      // A timer may be early by a part of a millisecond.
      if (!this.#repeats.take()) return this.#wait(typeUrl)
      this.#heldBack.delete(typeUrl)
      this.#goOn(typeUrl)
    }
    this.#heldBack.set(typeUrl, setTimeout(goOn, this.#repeats.waitMs))
  }

  #converged(typeUrl: string, nonce: string): void {
    this.#note(typeUrl, { acked: nonce, lastError: '' })
    const sentMs = this.#sentMs.get(typeUrl)
    if (sentMs !== undefined) this.#options.metrics.convergence.observe((performance.now() - sentMs) / 1000)
    this.#sentMs.delete(typeUrl)
  }

  /** Also other types may have waited for this one. */
  #goOn(typeUrl?: string): void {
    if (typeUrl !== undefined) this.#send(typeUrl)
    for (const url of this.#types.keys()) if (url !== typeUrl) this.#send(url)
    this.#advance()
  }

  /**
   * Responses show how things are now, which may be later than the publication whose turn it is: what they may name by now
   * is brought forward. False: that cannot be sent yet. What is gone keeps its place, behind what named it.
   */
  #knowsFirst(typeUrl: string): boolean {
    const { referredTo = [], views } = this.#options
    if (referredTo.includes(typeUrl)) return true
    return referredTo.every((url) => {
      const view = views.get(url)
      const state = this.#types.get(url)
      if (!state || !view) return true
      const isThere = (name: string) => view.get(name) !== undefined
      const early: string[] = []
      for (const stage of this.#stages) {
        if (stage.typeUrl !== url) continue
        const there = stage.lists.flat().filter(isThere)
        if (there.length === 0) continue
        for (const name of there) early.push(name)
        const gone = stage.lists.flat().filter((name) => !isThere(name))
        stage.lists = gone.length > 0 ? [gone] : []
      }
      this.#stages = this.#stages.filter(({ lists }) => lists.length > 0)
      if (early.length > 0) this.#types.set(url, changed(state, early))
      this.#send(url)
      return ![...(this.#types.get(url)?.dirty ?? [])].some(isThere)
    })
  }

  /** Sends what a type is owed, when there is room for it. */
  #send(typeUrl: string): void {
    const state = this.#types.get(typeUrl)
    const view = this.#options.views.get(typeUrl)
    if (!state || !view || state.awaiting !== undefined) return
    if (this.#waiting.has(typeUrl) || this.#heldBack.has(typeUrl) || !this.#knowsFirst(typeUrl)) return
    const bytes = mostBytes(state, view)
    if (bytes <= smallBytes) return this.#respond(typeUrl, view, undefined)
    const { budget, caller } = this.#options
    this.#waiting.set(typeUrl, undefined)
    const asked = budget.ask(caller.pod?.uid ?? '', bytes, (permit) => {
      this.#waiting.delete(typeUrl)
      if (this.#knowsFirst(typeUrl)) this.#respond(typeUrl, view, permit)
      else permit.release()
      this.#goOn()
    })
    if (this.#waiting.has(typeUrl)) this.#waiting.set(typeUrl, asked)
  }

  #respond(typeUrl: string, view: View, permit: Permit | undefined): void {
    const before = this.#types.get(typeUrl)
    if (!before || this.#ended) return permit?.release()
    const startedMs = performance.now()
    const nonce = String(this.#nonce + 1)
    const { state, response } = respond(before, view, nonce)
    this.#types.set(typeUrl, state)
    if (!response) return permit?.release()
    const { metrics, sendTimeoutMs } = this.#options
    this.#nonce++
    this.#sentMs.set(typeUrl, startedMs)
    this.#note(typeUrl, { sent: nonce, sentAt: new Date() })
    const type = shortName(typeUrl)
    const bytes = bytesOf(response)
    metrics.pushes.inc({ type })
    metrics.bytes.observe({ type }, bytes)
    permit?.shrink(bytes)
    const sent = { permit, timer: setTimeout(() => this.#tooSlow(), sendTimeoutMs) }
    this.#onTheirWay.add(sent)
    const writtenMs = performance.now()
    // At most one unacknowledged response per type is ever buffered here.
    this.#outlet.write({ typeUrl, nonce, ...response }, (failed) => {
      metrics.send.observe((performance.now() - writtenMs) / 1000)
      if (failed === true) metrics.pushes.inc({ type: `${type}_senderr` })
      this.#taken(sent)
    })
    metrics.push.observe({ type }, (performance.now() - startedMs) / 1000)
  }

  #taken(sent: Readonly<{ permit: Permit | undefined; timer: NodeJS.Timeout }>): void {
    clearTimeout(sent.timer)
    this.#onTheirWay.delete(sent)
    sent.permit?.release()
  }

  #tooSlow(): void {
    this.#options.metrics.writeTimeouts.inc()
    this.end(notReading)
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
