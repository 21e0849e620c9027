/** Messages, bodies and exchanges, whatever version of HTTP carries them. */
export type {
  Body,
  BodyReader,
  BodyWriter,
  BodyWriterUser,
  Exchange,
  ExchangeEnd,
  ExchangeMarks,
  HttpConnection,
  HttpVersion,
  RequestHead,
  ResetReason,
  Response,
  ResponseHead,
  SendFailureReason,
  SendOptions,
  SendOutcome,
} from './exchange.ts'
/** The header fields of a message. */
export { HeaderList } from './header-list.ts'
/** What a client speaks, by its first bytes. */
export { maxSniffedLine, sniff, type Sniffed } from './sniff.ts'
/** Every number that bounds a connection. */
export { defaultHttpLimits, type HttpLimits } from './limits.ts'
/** A downstream connection → exchanges. */
export {
  type FaultAnswer,
  type HttpFault,
  type HttpServerConnection,
  type HttpServerEnd,
  serveHttp,
  type ServeHttpOptions,
} from './server.ts'
/** Copies a body as fast as its writer takes it; answers with an upstream's response. */
export { passOn, relay } from './relay.ts'
/** HTTP on a connection to an upstream. */
export { connectHttp, type ConnectHttpOptions, type ConnectionOwner } from './connect.ts'
/** Connections to upstreams within a policy's limits. */
export { HttpPool, type PoolUse } from './pool.ts'
/** What a pool is told of a destination, and of its limits. */
export type { PoolDestination, PoolPolicy } from './pool-policy.ts'
