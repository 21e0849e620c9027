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
export { HeaderList, isFieldName, isFieldValue } from './header-list.ts'
/** What a client speaks, by its first bytes. */
export { sniff, type Sniffed, sniffUntil } from './sniff.ts'
