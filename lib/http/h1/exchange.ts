import type { EndSignal } from '#base'
import type {
  BodyWriter,
  Exchange,
  ExchangeEnd,
  ExchangeMarks,
  RequestHead,
  ResetReason,
  ResponseHead,
} from '../exchange.ts'
import { ExchangeOutcome } from '../exchange-end.ts'
import type { HeaderList } from '../header-list.ts'
import { type BodyOwner, H1BodyWriter } from './body-writer.ts'
import { type Framing, noBody, rawBytes } from './framing.ts'
import { type BodySource, IncomingBody } from '../incoming-body.ts'
import { Interims } from '../interim.ts'
import type { ParsedRequest } from './request-head.ts'
import type { H1Server } from './server.ts'
import { withAccept } from './websocket.ts'
import { framingFor, responseText } from './write-head.ts'

/** One request over HTTP/1.1 and the answer to it. */
export class H1Exchange implements Exchange, BodySource, BodyOwner {
  readonly version = 'HTTP/1.1'
  readonly request: RequestHead
  readonly body: IncomingBody
  readonly #server: H1Server
  readonly #keepAlive: boolean
  readonly #outcome = new ExchangeOutcome()
  readonly #startedAt = performance.now()
  #requestEndedAt = 0
  #respondedAt = 0
  #endedAt = 0
  /** The request may become a tunnel: what follows it is not ours to read until it is accepted. */
  readonly #tunnel: boolean
  #requestEnded = false
  #responseEnded = false
  /** The connection ends with this exchange. */
  #closes = false
  #writer: H1BodyWriter | undefined
  #interims: Interims | undefined
  raw = false

  constructor(server: H1Server, { head, framing, keepAlive }: ParsedRequest) {
    this.#server = server
    this.request = head
    this.#keepAlive = keepAlive
    this.#tunnel = head.method === 'CONNECT' || head.upgrade !== undefined
    this.body = new IncomingBody(this, this.#tunnel || framing.kind !== 'length' ? undefined : framing.bytes)
    if (framing !== noBody) return
    this.#requestEnded = true
    this.#requestEndedAt = this.#startedAt
    if (!this.#tunnel) this.body.finish(undefined)
  }

  get gone(): EndSignal {
    return this.#outcome.gone
  }
  get ended(): Promise<ExchangeEnd> {
    return this.#outcome.ended
  }
  onEnd(told: (end: ExchangeEnd) => void): void {
    this.#outcome.onEnd(told)
  }
  get responded(): boolean {
    return this.#respondedAt > 0
  }
  get receivedBytes(): number {
    return this.body.received
  }
  get sentBytes(): number {
    return this.#writer?.sent ?? 0
  }
  get marks(): ExchangeMarks {
    return {
      startedAt: this.#startedAt,
      requestEndedAt: this.#requestEndedAt,
      respondedAt: this.#respondedAt,
      endedAt: this.#endedAt,
    }
  }

  // ---- from the connection ----

  /** True when the parser may go on. */
  get takes(): boolean {
    return !this.#requestEnded && this.body.ready
  }

  requestEnded(trailers: HeaderList | undefined): void {
    this.#requestEnded = true
    this.#finishRequest(trailers)
  }

  #finishRequest(trailers: HeaderList | undefined): void {
    this.#requestEndedAt = performance.now()
    this.body.finish(trailers)
    this.#settle()
  }

  drained(): void {
    this.#writer?.drained()
  }

  /** The client has gone, or has broken the rules. */
  broke(reason: ResetReason): void {
    this.#end({ kind: 'broken', by: 'downstream', reason })
    this.body.fail(reason)
    this.#writer?.stop(reason)
  }

  // ---- from the bodies ----

  bodyWanted(): void {
    this.#server.wanted()
  }

  bodyUnwanted(): void {
    this.#server.wanted()
  }

  bodyEnded(): void {
    this.#responseEnded = true
    if (this.raw) this.#server.stream.end()
    this.#settle()
  }

  bodyBroken(reason: ResetReason): void {
    if (this.#outcome.over) return
    this.#end({ kind: 'broken', by: 'local', reason })
    this.#server.abandon()
    this.body.fail(reason)
  }

  // ---- from whoever answers ----

  inform(head: ResponseHead): void {
    if (this.responded || this.#outcome.over) return
    const { stream, options } = this.#server
    const told = (this.#interims ??= new Interims()).admit(head, stream, options.limits)
    if (told) stream.text(responseText(told, noBody, { close: false, upgrade: undefined, head: false }))
  }

  respond(head: ResponseHead, body: 'none' | 'follows'): BodyWriter {
    if (this.responded) throw new TypeError('exchange is already answered')
    this.#respondedAt = performance.now()
    const framing = this.#framingOf(head, body)
    const writer = new H1BodyWriter(this.#server.stream, this, framing, this.#server.options.trailers)
    this.#writer = writer
    if (this.#outcome.over) {
      writer.stop('connection-termination')
      return writer
    }
    const { status } = head
    const raw = framing.kind === 'raw'
    // Bytes after a refused CONNECT are the tunnel's; those of a request that is answered already nobody waits for.
    const strays = this.request.method === 'CONNECT' || (!this.#requestEnded && writer.over)
    this.#closes = raw || !this.#keepAlive || this.#server.closing || strays
    const form = {
      close: this.#closes,
      upgrade: this.request.upgrade,
      head: this.request.method === 'HEAD',
    }
    const answer = status === 101 ? withAccept(this.request, head) : head
    this.#server.stream.text(responseText(answer, framing, form))
    if (raw) this.#beginRaw()
    else if (this.#tunnel) this.#finishRequest(undefined)
    if (writer.over) this.bodyEnded()
    return writer
  }

  #framingOf({ status, headers }: ResponseHead, body: 'none' | 'follows'): Framing {
    const { method, upgrade } = this.request
    if (status === 101 && upgrade !== undefined) return rawBytes
    if (method === 'CONNECT' && status >= 200 && status < 300) return rawBytes
    if (body === 'none' || method === 'HEAD' || status === 204 || status === 304) return noBody
    return framingFor(headers)
  }

  #beginRaw(): void {
    this.raw = true
    this.#requestEnded = false
    this.#server.goRaw()
  }

  reset(reason: ResetReason): void {
    this.bodyBroken(reason)
    this.#writer?.stop(reason)
  }

  #settle(): void {
    if (!this.#responseEnded || this.#outcome.over) return
    if (this.raw && !this.#requestEnded) return
    this.#end({ kind: 'complete' })
    this.#server.exchangeEnded(this.#requestEnded && !this.#closes)
    if (!this.#requestEnded) this.body.fail('local-reset')
  }

  #end(end: ExchangeEnd): void {
    if (this.#outcome.over) return
    this.#endedAt = performance.now()
    this.#outcome.settle(end)
  }
}
