import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { messageOf } from '#base'
import { openNetns, tcpSocket } from '#linux'
import { acceptChannels, copyTo, refuse, sendOn, splitMessage } from './channels.ts'

/** kubectl itself tunnels SPDY here; this is the protocol of client libraries, a pair of channels per port. */
const protocol = 'v4.channel.k8s.io'

/** Connects each port with 127.0.0.1 inside the pod. */
export async function servePortForward(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  worker: { readonly netnsPath: string | undefined },
  ports: readonly number[],
  signal: AbortSignal,
): Promise<void> {
  const path = worker.netnsPath
  const offered = String(request.headers['sec-websocket-protocol'] ?? '')
  if (!offered.includes(protocol))
    return refuse(socket, 501, `the sandbox forwards ports over ${protocol} only; it does not speak SPDY`)
  if (path === undefined || ports.length === 0)
    return refuse(socket, 400, 'the pod has no network yet, or no port was named')
  const client = await acceptChannels(request, socket, head, [protocol])
  const abort = () => client.terminate()
  signal.addEventListener('abort', abort, { once: true })
  client.once('close', () => signal.removeEventListener('abort', abort))
  client.on('error', () => client.terminate())
  const upstreams = ports.map((port, index) => forward(client, index, port, path))
  client.on('message', (message) => {
    const { channel, bytes } = splitMessage(message)
    const upstream = channel % 2 === 0 ? upstreams[channel / 2] : undefined
    if (upstream?.writable && !upstream.write(bytes)) client.pause()
  })
}

/** Channel 2i carries port i's bytes, 2i+1 its errors; each begins with the port as 16 bits, little-endian. */
function forward(client: WebSocket, index: number, port: number, netnsPath: string): Socket | undefined {
  const [bytes, errors] = [index * 2, index * 2 + 1]
  const start = Buffer.alloc(2)
  start.writeUInt16LE(port)
  sendOn(client, bytes, start)
  sendOn(client, errors, start)
  try {
    using netns = openNetns(netnsPath)
    const upstream = new Socket({ fd: tcpSocket({ netns, family: 'ipv4' }), allowHalfOpen: true })
    upstream.connect({ host: '127.0.0.1', port })
    copyTo(client, bytes, upstream)
    upstream.on('drain', () => client.resume())
    upstream.on('error', (error) => {
      sendOn(client, errors, Buffer.from(`cannot reach port ${port}: ${error.message}`))
      client.close(1000)
    })
    upstream.once('end', () => client.close(1000))
    client.once('close', () => upstream.destroy())
    return upstream
  } catch (error) {
    sendOn(client, errors, Buffer.from(messageOf(error)))
    client.close(1000)
    return undefined
  }
}
