import type { ByteStream, BytesUser } from '#hbone'
import type {
  Body,
  HttpConnection,
  RequestHead,
  ResetReason,
  Response,
  SendOptions,
  SendOutcome,
} from '../exchange.ts'
import type { HttpLimits } from '../limits.ts'
import { linger } from '../linger.ts'
import { relay } from '../relay.ts'
import type { ConnectionOwner } from '../connect.ts'
import { type BodyOwner, H1BodyWriter } from './body-writer.ts'
import { chunked, type Framing, noBody, rawBytes } from './framing.ts'
import { type BodySource, IncomingBody } from '../incoming-body.ts'
import { ResponseParser } from './parser.ts'
import { withKey } from './websocket.ts'
import { requestText } from './write-head.ts'

type Pending = {
  readonly request: RequestHead
  readonly body: Body | undefined
  readonly options: SendOptions
  readonly settle: (outcome: SendOutcome) => void
  readonly onAbort: () => void
  writer: H1BodyWriter | undefined
  response: IncomingBody | undefined
  interims: number
  keepAlive: boolean
  raw: boolean
}

/** What of an unwanted answer is read so that its connection can be used again. */
const maxDropped = 64 << 10

/** An HTTP/1.1 connection to an upstream: one request at a time. */
export class H1Client implements HttpConnection, BytesUser, BodySource, BodyOwner {
  readonly version = 'HTTP/1.1'
  readonly #stream: ByteStream
  readonly #limits: HttpLimits
  readonly #owner: ConnectionOwner | undefined
  readonly #parser: ResponseParser
  #pending: Pending | undefined
  #draining = false
  #dead = false
  /** Bytes are being looked at: nobody may send before it is known that there are none too many. */
  #reading = false
  #endsToTell = 0
  /** Requests that have been answered. */
  #served = 0
  #keptMs = 0
  #linger: NodeJS.Timeout | undefined

  constructor(stream: ByteStream, limits: HttpLimits, owner?: ConnectionOwner) {
    this.#stream = stream
    this.#limits = limits
    this.#owner = owner
    this.#parser = new ResponseParser(limits)
    this.#parser.onGivenUp = () => this.#break('overflow', this.#parser.error)
    stream.use(this)
  }

  get active(): number {
    return this.#pending === undefined ? 0 : 1
  }
  get keptMs(): number {
    return this.#keptMs
  }
  get available(): boolean {
    return this.#pending === undefined && !this.#draining && !this.#dead && !this.#reading
  }

  send(request: RequestHead, body: Body | undefined, options: SendOptions): Promise<SendOutcome> {
    return new Promise((settle) => {
      if (!this.available || options.signal.aborted) {
        body?.discard()
        const reason = options.signal.aborted ? 'local-reset' : 'connection-termination'
        settle({ kind: 'failure', reason, sent: false, error: options.signal.reason })
        return this.#refused()
      }
      const onAbort = () => this.#break('local-reset', options.signal.reason)
      this.#start({
        request,
        body,
        options,
        settle,
        onAbort,
        writer: undefined,
        response: undefined,
        interims: 0,
        keepAlive: true,
        raw: false,
      })
    })
  }

  #refused(): void {
    queueMicrotask(() => this.#owner?.requestEnded())
  }

  #start(pending: Pending): void {
    const { request, body, options } = pending
    const tunnel = request.method === 'CONNECT' || request.upgrade !== undefined
    const framing = tunnel ? noBody : framingOf(body)
    let text: string
    try {
      text = requestText(withKey(request), framing)
    } catch (error) {
      body?.discard()
      pending.settle({ kind: 'failure', reason: 'local-reset', sent: false, error })
      return this.#refused()
    }
    this.#pending = pending
    if (!tunnel) pending.writer = new H1BodyWriter(this.#stream, this, framing)
    this.#parser.asked = { method: request.method, upgrade: request.upgrade !== undefined }
    options.signal.addEventListener('abort', pending.onAbort, { once: true })
    this.#stream.text(text)
    if (pending.writer?.over) body?.discard()
    else if (pending.writer && body) relay(body, pending.writer)
  }

  // ---- from the stream ----

  bytes(buffer: Buffer, start: number, end: number): number {
    this.#reading = true
    const at = this.#read(buffer, start, end)
    this.#reading = false
    // Nobody has asked for the rest: whatever it is, the next request must not get it.
    const poisoned = at < end && this.#pending === undefined && !this.#dead
    if (poisoned) this.#dead = true
    for (; this.#endsToTell > 0; this.#endsToTell--) this.#owner?.requestEnded()
    if (poisoned) this.#break('protocol-error', undefined)
    return this.#dead ? end : at
  }

  /** How far it came. */
  #read(buffer: Buffer, start: number, end: number): number {
    let at = start
    while (!this.#dead) {
      const pending = this.#pending
      if (pending === undefined) return at
      // The end of a body is told even to a reader that is full: nothing may come after it to make us look again.
      if (pending.response !== undefined && !pending.response.ready && !this.#parser.atEnd) return at
      const event = this.#parser.step(buffer, at, end)
      const from = this.#parser.from
      at = this.#parser.at
      if (event === 'more') break
      if (event === 'head') this.#onHead(pending)
      else if (event === 'body') this.#onBody(pending.response, buffer, from, at)
      else if (event === 'end') this.#onEnd(pending)
      else this.#break('protocol-error', this.#parser.error)
    }
    return end
  }

  #onBody(body: IncomingBody | undefined, buffer: Buffer, start: number, end: number): void {
    body?.give(buffer, start, end)
    if (body?.unwanted && body.dropped > maxDropped) this.#break('local-reset', undefined)
  }

  #onHead(pending: Pending): void {
    const parsed = this.#parser.takeHead()
    if (parsed === undefined) return
    const { head, framing } = parsed
    if (head.status < 200 && head.status !== 101) {
      // Its end comes at once, and another head after it.
      this.#parser.step(nothing, 0, 0)
      if (++pending.interims > this.#limits.maxInterim) return this.#break('protocol-error', undefined)
      if (head.status === 100 || head.status === 103) pending.options.onInform?.(head)
      return
    }
    pending.keepAlive = parsed.keepAlive
    this.#keptMs = parsed.keptMs
    const body = new IncomingBody(this, framing.kind === 'length' ? framing.bytes : undefined)
    pending.response = body
    const response: Response = {
      version: this.version,
      head,
      body,
      reset: (reason) => {
        if (this.#pending === pending) this.#break(reason, undefined)
      },
    }
    if (framing.kind === 'raw') this.#beginRaw(pending)
    // A tunnel that was refused has no request body.
    else if (pending.writer === undefined) pending.body?.discard()
    pending.settle({ kind: 'response', response })
    if (framing === noBody) {
      this.#parser.step(nothing, 0, 0)
      this.#onEnd(pending)
    }
  }

  #beginRaw(pending: Pending): void {
    pending.raw = true
    pending.writer = new H1BodyWriter(this.#stream, this, rawBytes)
    if (pending.body) relay(pending.body, pending.writer)
  }

  #onEnd(pending: Pending): void {
    pending.response?.finish(this.#parser.takeTrailers())
    this.#settle(pending)
  }

  /** Once the answer is whole the connection is free again, unless the request is still on its way. */
  #settle(pending: Pending): void {
    if (this.#pending !== pending || !pending.response?.over) return
    const sent = pending.writer?.over ?? true
    // A tunnel's directions end one by one.
    if (pending.raw && !sent) return
    this.#served++
    this.#release(pending)
    pending.writer?.stop('local-reset')
    if (!sent || !pending.keepAlive || this.#draining) this.#leave()
    this.#tellEnd()
  }

  #tellEnd(): void {
    if (this.#reading) this.#endsToTell++
    else this.#owner?.requestEnded()
  }

  #release(pending: Pending): void {
    this.#pending = undefined
    pending.options.signal.removeEventListener('abort', pending.onAbort)
  }

  /** Nothing was lost: the connection ends in peace. */
  #leave(): void {
    if (this.#dead) return
    this.#dead = true
    this.#stream.end()
    this.#linger = linger(this.#stream, this.#limits.lingerMs)
    this.#stream.resume()
  }

  #break(reason: ResetReason, error: unknown): void {
    const pending = this.#pending
    this.#dead = true
    this.#parser.close()
    if (pending !== undefined) this.#release(pending)
    this.#stream.destroy()
    if (pending === undefined) return
    if (pending.writer === undefined) pending.body?.discard()
    pending.writer?.stop(reason)
    const stale = reason === 'connection-termination' && this.#served > 0 && pending.interims === 0
    if (pending.response === undefined) pending.settle({ kind: 'failure', reason, sent: true, stale, error })
    else pending.response.fail(reason)
    this.#tellEnd()
  }

  ended(): void {
    const pending = this.#pending
    if (pending === undefined) return this.#leave()
    if (pending.response === undefined || !this.#parser.endsWithConnection)
      return this.#break('connection-termination', undefined)
    pending.keepAlive = false
    pending.response.finish(undefined)
    this.#settle(pending)
  }

  drained(): void {
    this.#pending?.writer?.drained()
  }

  closed(error: unknown): void {
    clearTimeout(this.#linger)
    this.#break('connection-termination', error)
    this.#owner?.closed(error)
  }

  // ---- from the bodies ----

  bodyWanted(): void {
    this.#stream.resume()
  }

  bodyUnwanted(): void {
    this.#stream.resume()
  }

  bodyEnded(): void {
    const pending = this.#pending
    if (pending === undefined) return
    if (pending.raw) this.#stream.end()
    this.#settle(pending)
  }

  bodyBroken(reason: ResetReason): void {
    this.#break(reason === 'protocol-error' ? reason : 'local-reset', undefined)
  }

  // ---- from whoever owns it ----

  drain(): void {
    this.#draining = true
    if (this.#pending === undefined) this.#leave()
  }

  destroy(): void {
    this.#break('local-reset', undefined)
  }
}

const nothing = Buffer.alloc(0)

/** The body's own length where it is known: what headers say of it may have been changed on the way. */
function framingOf(body: Body | undefined): Framing {
  if (body === undefined || body.length === 0) return noBody
  return body.length === undefined ? chunked : { kind: 'length', bytes: body.length }
}
