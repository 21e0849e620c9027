import type { ByteStream } from '#hbone'
import type { Exchange, HttpVersion } from './exchange.ts'
import type { HeaderList } from './header-list.ts'
import { H1Server } from './h1/server.ts'
import { H2Server } from './h2/server.ts'
import { type HttpLimits, httpLimitsOf } from './limits.ts'

/** What was wrong with what a client sent, and the status that it was answered with where it could be. */
export type HttpFault = Readonly<{ status: number; reason: string }>

/** What else the answer to a fault says. */
export type FaultAnswer = Readonly<{ headers: HeaderList; body: string }>

export type HttpServerEnd = Readonly<{ error?: unknown; fault?: HttpFault | undefined }>

/** A downstream connection that is being served. */
export type HttpServerConnection = {
  readonly version: HttpVersion
  /** Exchanges that are open. */
  readonly exchanges: number
  /** Settles when the connection is gone, after all of its exchanges; never rejects. */
  readonly done: Promise<HttpServerEnd>
  /** Takes no more requests, says so, and closes after the last answer. */
  drain(): void
  destroy(): void
}

export type ServeHttpOptions = Readonly<{
  version: HttpVersion
  /** What the connection is, where a request does not say: `http`, or `https` where a client's TLS ends here. */
  scheme: 'http' | 'https'
  limits?: Partial<HttpLimits>
  /** Whether trailers are passed on to HTTP/1.1 clients (Envoy: not unless enabled). */
  trailers?: boolean
  /** Called once per request, before any of its body is read. */
  onExchange(exchange: Exchange): void
  /**
   * Told once when a client of HTTP/1.1 breaks the rules; what it sent never becomes an exchange, or ends `exchange`. Says
   * how it is to be answered, where it can be.
   */
  onFault?: (fault: HttpFault, exchange: Exchange | undefined) => FaultAnswer | undefined
}>

/** Serves HTTP on a connection of which nothing has been read. */
export function serveHttp(stream: ByteStream, o: ServeHttpOptions): HttpServerConnection {
  const { scheme, onExchange, onFault, trailers = false } = o
  const options = { limits: httpLimitsOf(o.limits), scheme, trailers, onExchange, onFault }
  return o.version === 'HTTP/2' ? new H2Server(stream, options) : new H1Server(stream, options)
}
