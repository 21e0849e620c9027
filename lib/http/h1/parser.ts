import type { HeaderList } from '../header-list.ts'
import type { HttpLimits } from '../limits.ts'
import { BodyDecoder } from './body-decoder.ts'
import { type Fault, fault } from './field-lines.ts'
import { rawBytes } from './framing.ts'
import { HeadReader } from './head-reader.ts'
import { LastFields } from './last-fields.ts'
import { type ParsedRequest, parseRequestHead, requestFieldsOf } from './request-head.ts'
import { type Asked, type ParsedResponse, parseResponseHead, responseFieldsOf } from './response-head.ts'

/**
 * What a step has found. After `head` and `body` call `step` again with the rest, which may be nothing: `end` follows
 * even if no byte does. Nothing follows an `error`.
 */
type H1Event = 'more' | 'head' | 'body' | 'end' | 'error'

const noRoom = fault(503, 'no room for the head')

/** HTTP/1.1 messages of one direction of a connection: bytes in, events out, no I/O. Nothing that arrives makes it throw. */
abstract class MessageParser<Head> {
  protected readonly limits: HttpLimits
  readonly #head: HeadReader
  readonly #body: BodyDecoder
  #inBody = false
  #over = false
  /** How far the last step came in what it was given. */
  at = 0
  /** With `body`: the piece is `[from, at)`. */
  from = 0
  /** With `head`. */
  head: Head | undefined
  /** With `error`: what it was, and what a request that has it should be answered with. */
  error: Fault | undefined

  constructor(limits: HttpLimits) {
    this.limits = limits
    this.#head = new HeadReader(limits.maxHeaderBytes, () => this.#giveUp())
    this.#body = new BodyDecoder(limits, () => this.#giveUp())
  }

  protected abstract parse(text: string): (Head & { framing: ParsedRequest['framing'] }) | Fault
  /** Empty lines that may come before a head. */
  protected abstract readonly emptyLines: number
  /** Whether a head may have LF for CR LF all through. */
  protected abstract readonly bareLines: boolean

  /** What `head` has found; a connection that waits for its next message does not keep it. */
  takeHead(): Head | undefined {
    const { head } = this
    this.head = undefined
    return head
  }
  /** The same, with `end`. */
  takeTrailers(): HeaderList | undefined {
    const { trailers } = this.#body
    this.#body.trailers = undefined
    return trailers
  }
  /** True between messages, with nothing of the next one there. */
  get idle(): boolean {
    return !this.#inBody && !this.#head.begun
  }
  /** The next step is `end` whatever comes: there may be nothing to come. */
  get atEnd(): boolean {
    return this.#inBody && this.#body.complete
  }
  /** True where the end of the connection is the end of the message at hand. */
  get endsWithConnection(): boolean {
    return this.#inBody && this.#body.endsWithConnection
  }

  /** Everything from here on is body. */
  goRaw(): void {
    this.#inBody = true
    this.#body.begin(rawBytes)
  }

  /** Others have taken the room that the head at hand had: `error` says so, between two steps. */
  onGivenUp: () => void = () => undefined

  #giveUp(): void {
    this.#fail(noRoom)
    this.onGivenUp()
  }

  /** Nothing more comes. */
  close(): void {
    this.#head.reset()
    this.#body.close()
  }

  step(buffer: Buffer, start: number, end: number): H1Event {
    this.at = start
    if (this.#over) return 'error'
    if (!this.#inBody) return this.#stepHead(buffer, start, end)
    const event = this.#body.step(buffer, start, end)
    this.at = this.#body.at
    this.from = this.#body.from
    if (event === 'end') this.#inBody = false
    if (event === 'error') return this.#fail(this.#body.error ?? fault(400, 'malformed body'))
    return event
  }

  #stepHead(buffer: Buffer, start: number, end: number): H1Event {
    const state = this.#head.read(buffer, start, end, this.emptyLines, this.bareLines)
    this.at = this.#head.at
    if (state === 'more') return 'more'
    if (state === 'too-large') return this.#fail(fault(431, 'head too large'))
    if (state === 'no-room') return this.#fail(noRoom)
    if (state === 'forbidden') return this.#fail(fault(400, 'control character or bare end of line'))
    const parsed = this.parse(this.#head.text)
    this.#head.reset()
    if ('reason' in parsed) return this.#fail(parsed)
    this.head = parsed
    this.#body.begin(parsed.framing)
    this.#inBody = true
    return 'head'
  }

  #fail(error: Fault): 'error' {
    this.error = error
    this.#over = true
    this.close()
    return 'error'
  }
}

export class RequestParser extends MessageParser<ParsedRequest> {
  readonly #scheme: string
  readonly #fields = new LastFields((text, from) => requestFieldsOf(text, from, this.limits.maxHeaderFields))
  /** RFC 9112 §2.2: clients of old send one after a body. */
  protected readonly emptyLines = 1
  protected readonly bareLines = false

  constructor(limits: HttpLimits, scheme: string) {
    super(limits)
    this.#scheme = scheme
  }

  protected parse(text: string): ParsedRequest | Fault {
    return parseRequestHead(text, this.#fields, this.#scheme)
  }
}

export class ResponseParser extends MessageParser<ParsedResponse> {
  protected readonly emptyLines = 0
  /** Small servers write them (RFC 9112 §2.2; Envoy takes them). One LF among CR LF is somebody else's line. */
  protected readonly bareLines = true
  readonly #fields = new LastFields((text, from) => responseFieldsOf(text, from, this.limits.maxHeaderFields))
  /** The request that is to be answered; to be set before its answer is read. */
  asked: Asked = { method: 'GET', upgrade: false }

  protected parse(text: string): ParsedResponse | Fault {
    return parseResponseHead(text, this.#fields, this.asked)
  }
}
