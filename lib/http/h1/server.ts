import { timerMs } from '#base'
import type { ByteStream, BytesUser } from '#hbone'
import type { Exchange } from '../exchange.ts'
import { HeaderList } from '../header-list.ts'
import type { HttpLimits } from '../limits.ts'
import { linger } from '../linger.ts'
import type { HttpServerConnection, HttpServerEnd, ServeHttpOptions, FaultAnswer } from '../server.ts'
import { H1Exchange } from './exchange.ts'
import { type Fault, fault } from './field-lines.ts'
import { type Framing, noBody } from './framing.ts'
import { RequestParser } from './parser.ts'
import { responseText } from './write-head.ts'

type H1ServerOptions = Readonly<{
  limits: HttpLimits
  scheme: string
  trailers: boolean
  onExchange(exchange: Exchange): void
  onFault?: ServeHttpOptions['onFault'] | undefined
}>

const nothing = Buffer.alloc(0)

/** Serves HTTP/1.1 on one connection: one request at a time; of pipelined ones those that fit one read wait. */
export class H1Server implements BytesUser, HttpServerConnection {
  readonly version = 'HTTP/1.1'
  readonly stream: ByteStream
  readonly options: H1ServerOptions
  readonly #parser: RequestParser
  readonly #done = Promise.withResolvers<HttpServerEnd>()
  readonly done = this.#done.promise
  #exchange: H1Exchange | undefined
  /** Started anew whenever a request is over; that it fires during one means nothing. */
  #idleTimer: NodeJS.Timeout | undefined
  #headTimer: NodeJS.Timeout | undefined
  #linger: NodeJS.Timeout | undefined
  #drainTimer: NodeJS.Timeout | undefined
  #draining = false
  /** Our last answer is out, or will be; what still arrives is dropped. */
  #leaving = false
  #fault: Fault | undefined

  constructor(stream: ByteStream, options: H1ServerOptions) {
    this.stream = stream
    this.options = options
    this.#parser = new RequestParser(options.limits, options.scheme)
    this.#parser.onGivenUp = () => this.#onFault()
    this.#await('idle')
    stream.use(this)
  }

  get exchanges(): number {
    return this.#exchange === undefined ? 0 : 1
  }

  // ---- from the stream ----

  bytes(buffer: Buffer, start: number, end: number): number {
    let at = start
    while (!this.#leaving) {
      const exchange = this.#exchange
      // The end of a body is told even to a reader that is full: nothing may come after it to make us look again.
      if (exchange !== undefined && !exchange.takes && !this.#parser.atEnd) return at
      if (exchange === undefined && at === end) break
      const event = this.#parser.step(buffer, at, end)
      const from = this.#parser.from
      at = this.#parser.at
      if (event === 'more') break
      if (event === 'head') this.#onHead()
      else if (event === 'body') exchange?.body.give(buffer, from, at)
      else if (event === 'end') this.#exchange?.requestEnded(this.#parser.takeTrailers())
      else this.#onFault()
    }
    if (!this.#leaving && this.#exchange === undefined) this.#await(this.#parser.idle ? 'idle' : 'head')
    return end
  }

  #onHead(): void {
    const parsed = this.#parser.takeHead()
    if (parsed === undefined) return
    this.#await(undefined)
    // What has no body has ended with its head.
    if (parsed.framing === noBody) this.#parser.step(nothing, 0, 0)
    const exchange = new H1Exchange(this, parsed)
    this.#exchange = exchange
    this.options.onExchange(exchange)
  }

  #onFault(): void {
    const found = this.#parser.error ?? fault(400, 'malformed')
    this.#fault = found
    const exchange = this.#exchange
    const answered = exchange?.responded ?? false
    const answer = this.options.onFault?.(found, exchange)
    this.#exchange = undefined
    exchange?.broke('protocol-error')
    if (answered) this.abandon()
    else this.#refuse(found.status, answer)
  }

  #refuse(status: number, { headers, body }: FaultAnswer = { headers: new HeaderList(), body: '' }): void {
    const framing: Framing = body === '' ? noBody : { kind: 'length', bytes: Buffer.byteLength(body) }
    const form = { close: true, upgrade: undefined, head: false }
    this.stream.text(responseText({ status, headers }, framing, form) + body)
    this.leave()
  }

  #onLateHead(): void {
    const late = fault(408, 'head took too long')
    this.#fault = late
    this.#refuse(late.status, this.options.onFault?.(late, undefined))
  }

  ended(): void {
    const exchange = this.#exchange
    // A raw body may end on its own; a client that ends before its answer has gone (Envoy does the same).
    if (exchange?.raw) return exchange.requestEnded(undefined)
    this.#exchange = undefined
    exchange?.broke('connection-termination')
    if (exchange === undefined) this.leave()
    else this.abandon()
  }

  drained(): void {
    this.#exchange?.drained()
  }

  closed(error: unknown): void {
    this.#leaving = true
    this.#parser.close()
    this.#await(undefined)
    clearTimeout(this.#idleTimer)
    clearInterval(this.#linger)
    clearTimeout(this.#drainTimer)
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.broke('connection-termination')
    this.#done.resolve({ error, fault: this.#fault })
  }

  // ---- from the exchange ----

  /** The request has somewhere to go: reading goes on. */
  wanted(): void {
    this.stream.resume()
  }

  get closing(): boolean {
    return this.#draining
  }

  goRaw(): void {
    this.#parser.goRaw()
    this.stream.resume()
  }

  /** The exchange is over; the next may begin if the connection can carry one. */
  exchangeEnded(reusable: boolean): void {
    this.#exchange = undefined
    if (!reusable) return this.leave()
    this.#await('idle')
    if (this.#draining) this.#waitForOneMore()
    this.stream.resume()
  }

  /** Ends the connection after what was written; a peer that still sends gets to read it. */
  leave(): void {
    if (this.#leaving) return
    this.#leaving = true
    this.#parser.close()
    this.#await(undefined)
    this.stream.end()
    this.#linger = linger(this.stream, this.options.limits.lingerMs)
    this.stream.resume()
  }

  /** Ends it so that nobody takes what was written for all there was. */
  abandon(): void {
    this.#leaving = true
    this.#parser.close()
    this.#exchange = undefined
    this.stream.destroy()
  }

  /** The next answer says that it is the last. */
  drain(): void {
    if (this.#draining) return
    this.#draining = true
    if (this.#exchange === undefined) this.#waitForOneMore()
  }

  /** A client that has not been told may be sending a request this very moment, which closing would cost it (Envoy waits, too). */
  #waitForOneMore(): void {
    this.#drainTimer ??= setTimeout(() => this.#onIdle(), timerMs(this.options.limits.drainIdleMs)).unref()
  }

  destroy(): void {
    this.abandon()
  }

  #await(what: 'idle' | 'head' | undefined): void {
    const { idleMs, headMs } = this.options.limits
    if (what === 'head') this.#headTimer ??= setTimeout(() => this.#onLateHead(), timerMs(headMs)).unref()
    else if (this.#headTimer !== undefined) {
      clearTimeout(this.#headTimer)
      this.#headTimer = undefined
    }
    if (what !== 'idle') return
    if (this.#idleTimer) this.#idleTimer.refresh()
    else this.#idleTimer = setTimeout(() => this.#onIdle(), timerMs(idleMs)).unref()
  }

  #onIdle(): void {
    if (this.#exchange === undefined && this.#parser.idle) this.leave()
  }
}
