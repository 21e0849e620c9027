import type { EndSignal } from '#base'
import { h2Code, type H2Listener, type H2Stream, type Message } from '#hbone'
import type {
  Body,
  BodyWriter,
  Exchange,
  ExchangeEnd,
  ExchangeMarks,
  RequestHead,
  ResetReason,
  ResponseHead,
} from '../exchange.ts'
import { ExchangeOutcome } from '../exchange-end.ts'
import { HeaderList } from '../header-list.ts'
import { Interims } from '../interim.ts'
import { allowedTrailers } from '../h1/body-decoder.ts'
import { type H2BodyOwner, H2BodyWriter } from './body-writer.ts'
import { lengthOf, requestOf, responseFields } from './heads.ts'
import { H2Incoming } from './incoming.ts'
import type { H2Link } from './link.ts'
import { answerCodeOf, codeOf, reasonOf } from './reasons.ts'

/** One request over HTTP/2 and the answer to it. */
export class H2Exchange implements Exchange, H2BodyOwner {
  readonly version = 'HTTP/2'
  readonly request: RequestHead
  readonly #link: H2Link
  readonly #stream: H2Stream
  readonly #incoming: H2Incoming
  readonly #tunnel: boolean
  readonly #outcome = new ExchangeOutcome()
  readonly #startedAt = performance.now()
  #requestEndedAt = 0
  #respondedAt = 0
  #endedAt = 0
  #responseEnded = false
  #writer: H2BodyWriter | undefined
  #interims: Interims | undefined

  constructor(link: H2Link, stream: H2Stream, message: Message, scheme: string) {
    this.#link = link
    this.#stream = stream
    this.request = requestOf(message, scheme)
    this.#tunnel = this.request.method === 'CONNECT' || this.request.upgrade !== undefined
    const told = this.#tunnel ? undefined : lengthOf(this.request.headers)
    const length = message.ended && !this.#tunnel ? 0 : told
    this.#incoming = new H2Incoming(link, stream, length, told, () => undefined)
    stream.listener = this.#listener()
    if (message.ended) {
      this.#requestEndedAt = this.#startedAt
      if (!this.#tunnel) this.#incoming.end()
    }
  }

  get body(): Body {
    return this.#incoming.body
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
    return this.#incoming.body.received
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

  #listener(): H2Listener {
    return {
      response: () => undefined,
      bytes: (buffer, start, end) => {
        const wrong = this.#incoming.take(buffer, start, end)
        if (wrong !== undefined) this.#refuse(wrong)
      },
      trailers: ({ flat }) => this.#incoming.setTrailers(new HeaderList(allowedTrailers(flat))),
      ended: () => this.#requestEnded(),
      reset: (code, remote) => this.#onReset(code, remote),
      writable: () => this.#writer?.roomAgain(),
    }
  }

  #requestEnded(): void {
    if (this.#requestEndedAt === 0) this.#requestEndedAt = performance.now()
    // Before a tunnel is accepted its end is not the end of a request.
    if (this.#tunnel && !this.responded) return
    if (!this.#incoming.end()) return this.#refuse('protocol-error')
    this.#settle()
  }

  /** The client has broken the rules. */
  #refuse(reason: ResetReason): void {
    const { connection } = this.#link
    // Where we have no room that is no fault of the client's.
    if (reason === 'overflow') connection.reset(this.#stream, codeOf(reason))
    else connection.resetFaulty(this.#stream, codeOf(reason))
    this.#break('downstream', reason)
  }

  #onReset(code: number, remote: boolean): void {
    if (!remote) this.#link.connection.reset(this.#stream, code)
    const lost = this.#link.connection.failed || this.#link.dead
    this.#break('downstream', reasonOf(code, remote, lost))
  }

  #break(by: 'downstream' | 'local', reason: ResetReason): void {
    this.#end({ kind: 'broken', by, reason })
    this.#incoming.fail(reason)
    this.#writer?.stop(reason)
  }

  // ---- from the bodies ----

  bodyEnded(): void {
    this.#responseEnded = true
    // RFC 9113 §8.1: who has answered in full may ask a client to stop sending, without an error.
    if (this.#requestEndedAt === 0 && !this.#raw) {
      this.#link.connection.reset(this.#stream, h2Code.noError)
      this.#end({ kind: 'complete' })
      this.#incoming.fail('local-reset')
    } else this.#settle()
  }

  bodyBroken(reason: ResetReason): void {
    if (this.#outcome.over) return
    this.#link.connection.reset(this.#stream, answerCodeOf(reason))
    this.#link.flush()
    this.#break('local', reason)
  }

  // ---- from whoever answers ----

  inform(head: ResponseHead): void {
    if (this.responded) return
    const { connection, stream, limits } = this.#link
    const told = (this.#interims ??= new Interims()).admit(head, stream, limits)
    if (!told) return
    connection.inform(this.#stream, responseFields(told))
    this.#link.flush()
  }

  respond(head: ResponseHead, body: 'none' | 'follows'): BodyWriter {
    if (this.responded) throw new TypeError('exchange is already answered')
    this.#respondedAt = performance.now()
    const { status } = head
    this.#raw = status === 101 || (this.request.method === 'CONNECT' && status >= 200 && status < 300)
    const bodyless = this.request.method === 'HEAD' || status === 204 || status === 304
    const empty = !this.#raw && (body === 'none' || bodyless)
    const headers = empty && !bodyless ? withoutLength(head.headers) : head.headers
    const promised = this.#raw || empty ? undefined : lengthOf(headers)
    const writer = new H2BodyWriter(this.#link, this.#stream, this, promised, empty)
    this.#writer = writer
    if (this.#outcome.over) {
      writer.stop('connection-termination')
      return writer
    }
    this.#link.connection.respond(this.#stream, responseFields({ status, headers }), empty)
    if (this.#tunnel && this.#requestEndedAt > 0) this.#incoming.end()
    if (empty) this.bodyEnded()
    this.#link.flush()
    return writer
  }

  /** The bodies are the bytes of a tunnel. */
  #raw = false

  reset(reason: ResetReason): void {
    this.bodyBroken(reason)
  }

  #settle(): void {
    if (this.#responseEnded && this.#requestEndedAt > 0) this.#end({ kind: 'complete' })
  }

  #end(end: ExchangeEnd): void {
    if (this.#outcome.over) return
    this.#endedAt = performance.now()
    this.#outcome.settle(end)
  }
}

/** An answer without a body must not promise one. */
function withoutLength(headers: HeaderList): HeaderList {
  if ((headers.get('content-length') ?? '0') === '0') return headers
  const out = headers.copy()
  out.delete('content-length')
  return out
}
