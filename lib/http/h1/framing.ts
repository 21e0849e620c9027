import { type Fault, fault, type FieldLines } from './field-lines.ts'

/** How the end of a message's body shows. */
export type Framing =
  | Readonly<{ kind: 'length'; bytes: number }>
  | Readonly<{ kind: 'chunked' }>
  /** At the end of the connection. */
  | Readonly<{ kind: 'close' }>
  /** No more HTTP: everything that follows is the body. */
  | Readonly<{ kind: 'raw' }>

export const noBody: Framing = { kind: 'length', bytes: 0 }
export const chunked: Framing = { kind: 'chunked' }
export const untilClose: Framing = { kind: 'close' }
export const rawBytes: Framing = { kind: 'raw' }

/** Fifteen digits are less than 2^53. */
const lengthPattern = /^\d{1,15}$/

/**
 * What the fields say of the body; undefined when they say nothing. Whatever two readers could understand differently is
 * refused (RFC 9112 §6.3, §11.2): both fields, two lengths, any other coding than chunked.
 */
export function framingOf({ contentLength, transferEncoding }: FieldLines): Framing | Fault | undefined {
  if (transferEncoding !== undefined) {
    if (contentLength !== undefined) return fault(400, 'Transfer-Encoding beside Content-Length')
    return transferEncoding === 'chunked' ? chunked : fault(501, 'transfer coding other than chunked')
  }
  if (contentLength === undefined) return undefined
  if (!lengthPattern.test(contentLength)) return fault(400, 'Content-Length is not a number')
  const bytes = Number(contentLength)
  return bytes === 0 ? noBody : { kind: 'length', bytes }
}
