import type { Duplex } from 'node:stream'
import { WebSocket } from 'ws'

type Unopened = WebSocket & {
  _isServer: boolean
  setSocket(stream: Duplex, head: Buffer, options: Readonly<Record<string, unknown>>): void
}

/** WebSocket over a stream that is open by now (RFC 8441), for which `ws` has no door. */
export function webSocketOver(stream: Duplex, isServer: boolean): WebSocket {
  const Socket = WebSocket as unknown as new (
    address: null,
    protocols: undefined,
    options: object,
  ) => Unopened
  const socket = new Socket(null, undefined, { autoPong: true })
  socket._isServer = isServer
  const options = { allowSynchronousEvents: true, maxPayload: 1 << 20, skipUTF8Validation: false }
  socket.setSocket(stream, Buffer.alloc(0), options)
  return socket
}
