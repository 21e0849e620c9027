import type { EndSignal } from '#base'
import type { HeaderList } from './header-list.ts'

export type HttpVersion = 'HTTP/1.1' | 'HTTP/2'

/**
 * A request, whatever carried it. Fields that are about the connection (`connection`, `keep-alive`, `transfer-encoding`,
 * `upgrade` …) and `host` are not among the headers; cookie crumbs are joined; `te` is at most `trailers`.
 */
export type RequestHead = Readonly<{
  method: string
  /** `http` or `https`. */
  scheme: string
  /** `host[:port]` as the client wrote it: Host, `:authority` or the absolute target. Empty only where HTTP/2 had neither. */
  authority: string
  /** Path and query; `*` for OPTIONS of the server, empty for CONNECT. */
  path: string
  headers: HeaderList
  /** The protocol that the client wants to go on with, in lower case (`websocket`): Upgrade and extended CONNECT look the same. */
  upgrade?: string
}>

/** An answer. 101 accepts an upgrade, in HTTP/2 too; from then on both bodies are the raw bytes. */
export type ResponseHead = Readonly<{ status: number; headers: HeaderList }>

/** Why a message, or the exchange that it belongs to, was broken off. */
export type ResetReason =
  /** The other end reset the stream. */
  | 'remote-reset'
  /** The other end has not looked at the request: it may be sent again. */
  | 'refused-stream'
  | 'connection-termination'
  /** It broke the rules of the protocol, or of its own content-length. */
  | 'protocol-error'
  /** It took too long. */
  | 'timeout'
  /** No room for what it makes us hold. */
  | 'overflow'
  /** We gave up. */
  | 'local-reset'

/** Who takes a body. The buffer is the sender's again when a call returns. */
export type BodyReader = {
  /** False: no more until `resume`. What is on the way then waits in a bounded place, and the sender with it. */
  bytes(buffer: Buffer, start: number, end: number): boolean
  end(trailers: HeaderList | undefined): void
  /** It will never be whole. Neither `bytes` nor `end` follows. */
  broken(reason: ResetReason): void
}

/** The body of a message that arrives. Nothing is taken from the peer beyond a small bound until somebody reads. */
export type Body = {
  /** The length where it was told, 0 for no body; undefined when only the end will show. */
  readonly length: number | undefined
  /** Bytes that have been handed to the reader. */
  readonly received: number
  /** To be called once. Calls back at once with what is there. */
  read(reader: BodyReader): void
  resume(): void
  /** Nobody wants (the rest of) it: the sender is told as far as its protocol can. */
  discard(): void
}

/** Who writes a body and waits for room. */
export type BodyWriterUser = {
  /** There is room again after a `write` that returned false. */
  drained(): void
  /** Nothing more will be taken. */
  stopped(reason: ResetReason): void
}

/** The body of a message that leaves. */
export type BodyWriter = {
  readonly sent: number
  /** Names who hears about room and ends, before the first write. Told at once where it is over already. */
  use(user: BodyWriterUser): void
  /** Takes the bytes before it returns. False: please wait for `drained`. */
  write(buffer: Buffer, start: number, end: number): boolean
  end(trailers?: HeaderList): void
  /** Breaks the message off so that the peer can tell it from a whole one. */
  reset(reason: ResetReason): void
}

/** Milliseconds of `performance.now()`; 0 for what has not happened. */
export type ExchangeMarks = Readonly<{
  /** The request head was read. */
  startedAt: number
  /** The last byte of the request was read. */
  requestEndedAt: number
  /** The response head was written. */
  respondedAt: number
  /** The last byte of the response was written, or the exchange broke. */
  endedAt: number
}>

export type ExchangeEnd =
  | Readonly<{ kind: 'complete' }>
  /** `by` is who broke it off. */
  | Readonly<{ kind: 'broken'; by: 'downstream' | 'local'; reason: ResetReason }>

/** One request of a downstream and the answer to it. */
export type Exchange = {
  readonly version: HttpVersion
  readonly request: RequestHead
  readonly body: Body
  /** Fires when the downstream has gone; made for those who ask. */
  readonly gone: EndSignal
  readonly marks: ExchangeMarks
  /** True once `respond` was called. */
  readonly responded: boolean
  /** Body bytes, of the request and of the response. */
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Settles when nothing more will happen; never rejects. */
  readonly ended: Promise<ExchangeEnd>
  /** The same, told in the middle of whatever ends it, and at once if it has: for counting, not for acting on the exchange. */
  onEnd(told: (end: ExchangeEnd) => void): void
  /** An interim answer (100, 103); ignored once there is a final one. */
  inform(head: ResponseHead): void
  /**
   * Answers. With `none` there is no body and the writer is done already; with `follows` it has to be ended or reset.
   * `content-length` is kept where it is set, and then has to be kept to.
   */
  respond(head: ResponseHead, body: 'none' | 'follows'): BodyWriter
  reset(reason: ResetReason): void
}

/** Where a request goes on to, and with what: a connection, or a pool of them. */
export type SendOptions = Readonly<{
  /** Ends the attempt, and the response with it when that is on its way. */
  signal: EndSignal
  /** Interim answers. */
  onInform?: ((head: ResponseHead) => void) | undefined
}>

/** Why there is no response. */
export type SendFailureReason =
  | ResetReason
  /** A limit of the pool; nothing was sent. */
  | 'pool-overflow'
  /** There is no connection; nothing was sent. */
  | 'connect-failure'
  | 'connect-timeout'

export type SendOutcome =
  | Readonly<{ kind: 'response'; response: Response }>
  /** `sent`: some of the request may have reached the other end. */
  | Readonly<{
      kind: 'failure'
      reason: SendFailureReason
      sent: boolean
      /** A connection that had served others ended before anything of an answer: most likely it was closing already. */
      stale?: boolean
      error?: unknown
    }>

export type Response = Readonly<{
  version: HttpVersion
  head: ResponseHead
  body: Body
  /** Breaks off the response, and the request where it is still on its way. */
  reset(reason: ResetReason): void
}>

/** A connection to an upstream. */
export type HttpConnection = {
  readonly version: HttpVersion
  /** Requests that are on their way. */
  readonly active: number
  /** True while another request may be given to it. */
  readonly available: boolean
  /** How long the peer says that it keeps the connection without a request, in milliseconds; 0: it has not said. */
  readonly keptMs: number
  /** Sends a request; its body is read as fast as the upstream takes it, and discarded when that wants no more. Never rejects. */
  send(request: RequestHead, body: Body | undefined, options: SendOptions): Promise<SendOutcome>
  /** Takes no more requests and closes after the last. */
  drain(): void
  destroy(): void
}
