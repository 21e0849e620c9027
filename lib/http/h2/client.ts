import type { ByteStream } from '#hbone'
import type { ConnectionOwner } from '../connect.ts'
import type { Body, HttpConnection, RequestHead, SendOptions, SendOutcome } from '../exchange.ts'
import { isAuthority, isMethod, isPath } from '../h1/request-head.ts'
import type { HttpLimits } from '../limits.ts'
import { H2Link } from './link.ts'
import { H2Request } from './request.ts'

/** Requests before the peer has said how many it takes (RFC 9113 §6.5.2 recommends no fewer). */
const untilReady = 100

/** An HTTP/2 connection to an upstream. */
export class H2Client implements HttpConnection {
  readonly version = 'HTTP/2'
  /** GOAWAY tells which requests nobody has looked at. */
  readonly keptMs = 0
  readonly #link: H2Link
  readonly #owner: ConnectionOwner | undefined
  /** Those that need to know first what the peer can do. */
  #whenReady: (() => void)[] = []
  active = 0

  constructor(stream: ByteStream, limits: HttpLimits, owner?: ConnectionOwner) {
    this.#owner = owner
    const runReady = () => {
      const all = this.#whenReady
      this.#whenReady = []
      for (const one of all) one()
    }
    this.#link = new H2Link(
      stream,
      'client',
      limits,
      { request: () => undefined, ready: runReady, goaway: () => this.#link.stopOpening() },
      (error) => {
        runReady()
        this.#owner?.closed(error)
      },
    )
    this.#link.start()
  }

  get available(): boolean {
    const { connection, dead, draining, ready } = this.#link
    const most = ready ? connection.peerMaxStreams : untilReady
    return !dead && !draining && !connection.failed && connection.hasIds && this.active < most
  }

  send(request: RequestHead, body: Body | undefined, options: SendOptions): Promise<SendOutcome> {
    return new Promise((settle) => {
      const start = () => this.#start(request, body, options, settle)
      if (request.upgrade === undefined || this.#link.ready || !this.available) start()
      else this.#whenReady.push(start)
    })
  }

  #start(
    request: RequestHead,
    body: Body | undefined,
    options: SendOptions,
    settle: (outcome: SendOutcome) => void,
  ): void {
    const reason = this.#refusal(request, options)
    if (reason !== undefined) {
      body?.discard()
      settle({ kind: 'failure', reason, sent: false, error: options.signal.reason })
      queueMicrotask(() => this.#owner?.requestEnded())
      return
    }
    this.active++
    const over = () => {
      this.active--
      this.#owner?.requestEnded()
    }
    const one = new H2Request(this.#link, request, body, options, settle, over)
    void one
  }

  #refusal(request: RequestHead, { signal }: SendOptions) {
    const { method, authority, path, upgrade } = request
    if (signal.aborted) return 'local-reset'
    if (!this.available) return 'connection-termination'
    const sound = isMethod(method) && isAuthority(authority) && (method === 'CONNECT' || isPath(path))
    if (!sound) return 'local-reset'
    // It cannot carry what was asked for.
    return upgrade !== undefined && !this.#link.connection.peerConnectProtocol ? 'protocol-error' : undefined
  }

  drain(): void {
    this.#link.drain()
  }

  destroy(): void {
    this.#link.destroy()
  }
}
