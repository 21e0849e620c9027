import type { ByteStream } from '#hbone'
import type { HttpConnection, HttpVersion } from './exchange.ts'
import { H1Client } from './h1/client.ts'
import { H2Client } from './h2/client.ts'
import { type HttpLimits, httpLimitsOf } from './limits.ts'

/** Whoever keeps a connection. */
export type ConnectionOwner = {
  /** A request is over in both directions, whatever came of it. */
  requestEnded(): void
  /** The connection is gone. */
  closed(error: unknown): void
}

export type ConnectHttpOptions = Readonly<{
  version: HttpVersion
  limits?: Partial<HttpLimits>
  /** Whether trailers are passed on to HTTP/1.1 servers. */
  trailers?: boolean
  owner?: ConnectionOwner
}>

/** Speaks HTTP to an upstream on a connection of which nothing has been read. */
export const connectHttp = (stream: ByteStream, o: ConnectHttpOptions): HttpConnection =>
  o.version === 'HTTP/2'
    ? new H2Client(stream, httpLimitsOf(o.limits), o.owner)
    : new H1Client(stream, httpLimitsOf(o.limits), o.owner)
