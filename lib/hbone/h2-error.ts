import { codeOf, MeshError, messageOf } from '#base'
import { errorCode } from './frames.ts'

/** A stream that ended before its time. `unsent`: no byte of the application has left. */
export function resetError(code: number, unsent: boolean): MeshError {
  const name = Object.entries(errorCode).find(([, value]) => value === code)?.[0] ?? `code ${code}`
  return new MeshError('h2-failed', { message: `stream reset: ${name}`, unsent })
}

/** RST_STREAM codes with which a peer merely says that it is done (ztunnel: NO_ERROR and CANCEL read as EOF). */
export const isPlainEnd = (code: number): boolean => code === errorCode.noError || code === errorCode.cancel

/**
 * The application reset its connection, or we break it off before its end. RFC 9113 §8.5 wants CONNECT_ERROR, which Envoy turns into a plain end for the
 * next hop; ztunnel reads STREAM_CLOSED as a broken pipe and Envoy passes it on as a reset.
 */
export const brokenCode = errorCode.streamClosed

/** The application at the other end reset its connection, as ztunnel and we or as Envoy say it: the end of a connection, and no failure of a proxy. */
export const isBroken = (code: number): boolean => code === brokenCode || code === errorCode.connectError

/** Whatever a TLS handshake failed with. */
export const tlsError = (cause: unknown): MeshError =>
  cause instanceof MeshError
    ? cause
    : new MeshError('tls-failed', {
        cause,
        message: `TLS handshake failed: ${messageOf(cause)}`,
        unsent: true,
      })

/** The other side closing hard is a normal end of a TCP connection (ztunnel: copy treats RST and EPIPE so). */
export const isHangUp = (error: unknown): boolean => ['ECONNRESET', 'EPIPE'].includes(codeOf(error) ?? '')
