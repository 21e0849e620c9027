import { type Field, h2Code, type H2Listener, type H2Stream, type Message } from '#hbone'
import type { Body, RequestHead, ResetReason, SendOptions, SendOutcome } from '../exchange.ts'
import { HeaderList } from '../header-list.ts'
import { allowedTrailers } from '../h1/body-decoder.ts'
import { relay } from '../relay.ts'
import { type H2BodyOwner, H2BodyWriter } from './body-writer.ts'
import { lengthOf, requestFields, responseOf } from './heads.ts'
import { H2Incoming } from './incoming.ts'
import type { H2Link } from './link.ts'
import { codeOf, reasonOf } from './reasons.ts'

/** One request to an upstream over HTTP/2. */
export class H2Request implements H2Listener, H2BodyOwner {
  readonly #link: H2Link
  readonly #request: RequestHead
  readonly #body: Body | undefined
  readonly #options: SendOptions
  readonly #settle: (outcome: SendOutcome) => void
  readonly #onOver: () => void
  readonly #tunnel: boolean
  readonly #stream: H2Stream
  readonly #onAbort = () => this.#break('local-reset', this.#options.signal.reason)
  #writer: H2BodyWriter | undefined
  #incoming: H2Incoming | undefined
  #interims = 0
  #raw = false
  #over = false

  constructor(
    link: H2Link,
    request: RequestHead,
    body: Body | undefined,
    options: SendOptions,
    settle: (outcome: SendOutcome) => void,
    onOver: () => void,
  ) {
    this.#link = link
    this.#request = request
    this.#body = body
    this.#options = options
    this.#settle = settle
    this.#onOver = onOver
    this.#tunnel = request.method === 'CONNECT' || request.upgrade !== undefined
    const empty = !this.#tunnel && (body === undefined || body.length === 0)
    this.#stream = link.connection.open(fieldsFor(request, body), empty)
    this.#stream.listener = this
    options.signal.addEventListener('abort', this.#onAbort, { once: true })
    if (empty) body?.discard()
    if (!this.#tunnel) this.#writer = new H2BodyWriter(link, this.#stream, this, body?.length, empty)
    link.flush()
    if (!empty && this.#writer && body) relay(body, this.#writer)
  }

  // ---- from the connection ----

  interim(message: Message): void {
    const head = responseOf(message)
    if (++this.#interims > this.#link.limits.maxInterim) this.#break('protocol-error', undefined)
    else if (head.status === 100 || head.status === 103) this.#options.onInform?.(head)
  }

  response(message: Message): void {
    const said = responseOf(message)
    const accepted = this.#tunnel && said.status >= 200 && said.status < 300
    this.#raw = accepted
    const head = accepted && this.#request.upgrade !== undefined ? { ...said, status: 101 } : said
    const bodyless = this.#request.method === 'HEAD' || said.status === 204 || said.status === 304
    const told = accepted || bodyless ? undefined : lengthOf(head.headers)
    const length = message.ended || bodyless ? 0 : told
    const onUnwanted = () => {
      if (!this.#over) this.#break('local-reset', undefined)
    }
    const incoming = new H2Incoming(this.#link, this.#stream, length, told, onUnwanted)
    this.#incoming = incoming
    if (this.#tunnel) this.#answerTunnel(accepted)
    const reset = (reason: ResetReason) => {
      if (!this.#over) this.#break(reason, undefined)
    }
    this.#settle({ kind: 'response', response: { version: 'HTTP/2', head, body: incoming.body, reset } })
  }

  #answerTunnel(accepted: boolean): void {
    if (!accepted) {
      this.#body?.discard()
      this.#link.connection.end(this.#stream)
      return
    }
    this.#writer = new H2BodyWriter(this.#link, this.#stream, this, undefined, false)
    if (this.#body) relay(this.#body, this.#writer)
  }

  trailers({ flat }: Message): void {
    this.#incoming?.setTrailers(new HeaderList(allowedTrailers(flat)))
  }

  bytes(buffer: Buffer, start: number, end: number): void {
    const wrong = this.#incoming?.take(buffer, start, end)
    if (wrong !== undefined) this.#break(wrong, undefined)
  }

  ended(): void {
    if (this.#incoming?.end() === false) return this.#break('protocol-error', undefined)
    this.#finish()
  }

  reset(code: number, remote: boolean): void {
    const lost = this.#link.connection.failed || this.#link.dead
    const reason = reasonOf(code, remote, lost)
    if (!remote) return this.#break(reason, undefined)
    this.#broken(reason, undefined)
  }

  writable(): void {
    this.#writer?.roomAgain()
  }

  // ---- from the bodies ----

  bodyEnded(): void {
    this.#finish()
  }

  bodyBroken(reason: ResetReason): void {
    this.#break(reason === 'protocol-error' ? reason : 'local-reset', undefined)
  }

  // ---- ends ----

  /** Both directions are done, or the answer is and nobody waits for the rest of the request. */
  #finish(): void {
    if (this.#over || !this.#stream.remoteEnded || this.#incoming === undefined) return
    const sent = this.#writer?.over ?? true
    if (this.#raw && !sent) return
    this.#leave()
    if (sent) return
    this.#link.connection.reset(this.#stream, h2Code.noError)
    this.#writer?.stop('local-reset')
  }

  /** We end the stream. */
  #break(reason: ResetReason, error: unknown): void {
    if (!this.#stream.closed) this.#link.connection.reset(this.#stream, codeOf(reason))
    this.#link.flush()
    this.#broken(reason, error)
  }

  #broken(reason: ResetReason, error: unknown): void {
    if (this.#over) {
      // The body may still be read from what has arrived.
      this.#incoming?.fail(reason)
      return
    }
    if (this.#writer === undefined) this.#body?.discard()
    this.#writer?.stop(reason)
    if (this.#incoming) this.#incoming.fail(reason)
    else this.#settle({ kind: 'failure', reason, sent: reason !== 'refused-stream', error })
    this.#leave()
  }

  #leave(): void {
    if (this.#over) return
    this.#over = true
    this.#options.signal.removeEventListener('abort', this.#onAbort)
    this.#onOver()
  }
}

/** The body's own length where it is known: what headers say of it may have been changed on the way. */
function fieldsFor(request: RequestHead, body: Body | undefined): Field[] {
  const fields = requestFields(request).filter(([name]) => name !== 'content-length')
  const tunnel = request.method === 'CONNECT' || request.upgrade !== undefined
  if (!tunnel && body?.length !== undefined && body.length > 0)
    fields.push(['content-length', `${body.length}`])
  return fields
}
