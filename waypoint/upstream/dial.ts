import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { MeshError, messageOf } from '#base'

/** Opens a TCP connection. Nothing has been sent when it fails, so another endpoint may be tried. */
export async function dial(
  to: Readonly<{ host: string; port: number }>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Socket> {
  signal.throwIfAborted()
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(new Error('timed out')), timeoutMs)
  const socket = connect({ ...to, allowHalfOpen: true, noDelay: true })
  socket.on('error', () => undefined) // whoever uses the socket sees it destroyed; a bare 'error' would be fatal
  try {
    await once(socket, 'connect', { signal: AbortSignal.any([limit.signal, signal]) })
    return socket
  } catch (cause) {
    socket.destroy()
    signal.throwIfAborted()
    const timedOut = limit.signal.aborted
    const message = timedOut
      ? `connection timed out, upstream ${to.host}:${to.port}`
      : `connection failed: ${messageOf(cause)}`
    throw new MeshError(timedOut ? 'timeout' : 'connect-failed', { message, cause, unsent: true })
  } finally {
    clearTimeout(timer)
  }
}
