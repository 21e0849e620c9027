import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import type { Duplex } from 'node:stream'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'

/** Bytes that may wait for a slow client before the program's output is no longer read. */
const maxWaitingBytes = 1024 * 1024
const maxMessageBytes = 4 * 1024 * 1024

/** Accepts the upgrade with the first of `protocols` that the client offers. */
export function acceptChannels(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocols: readonly string[],
): Promise<WebSocket> {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: maxMessageBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => protocols.find((each) => offered.has(each)) ?? false,
  })
  return new Promise((resolve, reject) => {
    socket.once('close', () => reject(new Error('client went away before the upgrade')))
    server.handleUpgrade(request, socket, head, resolve)
  })
}

/** One message of a channel stream: its channel, then its bytes. */
export function splitMessage(message: RawData): { readonly channel: number; readonly bytes: Buffer } {
  const whole = Array.isArray(message) ? Buffer.concat(message) : Buffer.from(message as Buffer)
  return { channel: whole[0] ?? 0, bytes: whole.subarray(1) }
}

export const sendOn = (client: WebSocket, channel: number, bytes: Buffer, sent?: () => void): void => {
  if (client.readyState === client.OPEN) client.send(Buffer.concat([Buffer.of(channel), bytes]), sent)
}

/** Copies a stream to a channel, no faster than the client takes it. */
export function copyTo(client: WebSocket, channel: number, from: Readable): void {
  from.on('data', (bytes: Buffer) => {
    sendOn(client, channel, bytes, () => {
      if (client.bufferedAmount < maxWaitingBytes) from.resume()
    })
    if (client.bufferedAmount >= maxWaitingBytes) from.pause()
  })
}

/** Answers an upgrade with a plain HTTP refusal. */
export function refuse(socket: Duplex, status: number, message: string): void {
  socket.end(
    `HTTP/1.1 ${status} Refused\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(message)}\r\n\r\n${message}`,
  )
}
