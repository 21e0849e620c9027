import { randomInt } from 'node:crypto'
import type { Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { ip, isIpv6, MeshError, messageOf, type SocketAddress } from '#base'
import { type Query, rcodes } from './message.ts'
import { parseResponse } from './response.ts'
import { udpSocketOn } from './udp-socket.ts'

/** A sound answer to the question that was asked. */
export type Reply = Readonly<{ bytes: Buffer; rcode: number; truncated: boolean }>

/** Makes the socket of one question, in the pod's namespace. The caller owns it. */
export type OpenSocket = (kind: 'udp' | 'tcp', family: 'ipv4' | 'ipv6') => number

/** Offered to upstreams over UDP: fits unfragmented everywhere, and a fragment is easily forged (DNS flag day 2020). */
export const upstreamUdpBytes = 1232
/** Wrong answers from the right address: somebody is guessing, and TCP cannot be guessed. */
const maxStrays = 8

const failed = (message: string, cause?: unknown) => new MeshError('connect-failed', { message, cause })

/** The question as we put it: under an ID of our own, and over UDP with our payload. */
function questionOf({ bytes, edns }: Query, id: number, transport: 'udp' | 'tcp'): Buffer {
  const asked = Buffer.from(bytes)
  asked.writeUInt16BE(id, 0)
  // The payload is the class of the OPT record, behind its one-byte owner and its type.
  if (edns && transport === 'udp')
    asked.writeUInt16BE(Math.min(Math.max(edns.payload, 512), upstreamUdpBytes), edns.at + 3)
  return asked
}

/** Rejects as soon as `signal` fires. */
function aborted(signal: AbortSignal): Disposable & { readonly promise: Promise<never> } {
  const { promise, reject } = Promise.withResolvers<never>()
  promise.catch(() => undefined)
  const fire = () => reject(signal.reason)
  if (signal.aborted) fire()
  signal.addEventListener('abort', fire, { once: true })
  return { promise, [Symbol.dispose]: () => signal.removeEventListener('abort', fire) }
}

/**
 * One question over UDP, from a port of its own that the kernel picks at random. The socket is connected, so the kernel
 * drops what does not come from the server that was asked. `suspect` when wrong answers come from there.
 */
export async function askUdp(
  query: Query,
  server: SocketAddress,
  open: OpenSocket,
  signal: AbortSignal,
): Promise<Reply | 'suspect'> {
  using stop = aborted(signal)
  const socket = ownPort(isIpv6(server.address), open)
  try {
    const { promise, resolve, reject } = Promise.withResolvers<Reply | 'suspect'>()
    socket.on('error', (cause) => reject(failed(cause.message, cause)))
    socket.connect(server.port, server.address)
    await Promise.race([once(socket, 'connect'), stop.promise, promise])
    const id = randomInt(0x1_0000)
    let strays = 0
    socket.on('message', (bytes) => {
      const response = parseResponse(bytes, query, id)
      if (response.kind === 'response') resolve(response)
      else if (++strays >= maxStrays || response.kind === 'broken') resolve('suspect')
    })
    socket.send(questionOf(query, id, 'udp'))
    return await Promise.race([promise, stop.promise])
  } finally {
    socket.close()
  }
}

/** A UDP socket on a random port that nobody else has. */
function ownPort(v6: boolean, open: OpenSocket): UdpSocket {
  try {
    return udpSocketOn(open('udp', v6 ? 'ipv6' : 'ipv4'), { address: ip(v6 ? '::' : '0.0.0.0'), port: 0 })
  } catch (cause) {
    throw failed(messageOf(cause), cause)
  }
}

/** One question over TCP. */
export async function askTcp(
  query: Query,
  server: SocketAddress,
  open: OpenSocket,
  signal: AbortSignal,
): Promise<Reply> {
  const fd = open('tcp', isIpv6(server.address) ? 'ipv6' : 'ipv4')
  const socket = new Socket({ fd })
  using stop = aborted(signal)
  try {
    const id = randomInt(0x1_0000)
    const answer = readMessage(socket)
    answer.catch(() => undefined)
    socket.setNoDelay(true)
    socket.connect({ host: server.address, port: server.port })
    const question = questionOf(query, id, 'tcp')
    const length = Buffer.alloc(2)
    length.writeUInt16BE(question.length)
    socket.write(Buffer.concat([length, question]))
    const bytes = await Promise.race([answer, stop.promise])
    const response = parseResponse(bytes, query, id)
    if (response.kind === 'response') return response
    throw failed(`${response.kind} answer over TCP`)
  } finally {
    socket.destroy()
  }
}

/** The first message of a stream, at most 64 KiB as its length says. */
function readMessage(socket: Socket): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  let held: Buffer = Buffer.alloc(0)
  socket.on('error', (cause) => reject(failed(cause.message, cause)))
  socket.on('close', () => reject(failed('closed without an answer')))
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    if (held.length < 2) return
    const end = 2 + held.readUInt16BE(0)
    if (held.length >= end) resolve(held.subarray(2, end))
  })
  return promise
}

/** Answers that say more about the server than about the name: another may know better. */
export const isLame = ({ rcode }: Reply): boolean =>
  rcode === rcodes.SERVFAIL || rcode === rcodes.REFUSED || rcode === rcodes.NOTIMP
