import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type Ip, isIpv6 } from '#base'
import type { Logger } from '#telemetry'
import { answerQuery, type AnswerOptions } from './dns-answer.ts'

/** Clients close after their answer; more at once than this is no use of a cluster's DNS. */
const maxConnections = 256
const idleMs = 10_000

type DnsServerOptions = Omit<AnswerOptions, 'transport'> &
  Readonly<{ address: Ip; port: number; log: Logger }>

/** Answers on one address, over UDP and TCP on the same port. Port 0 takes a free one. */
export async function serveDns(
  options: DnsServerOptions,
): Promise<AsyncDisposable & { readonly port: number }> {
  const { address, log } = options
  const udp = createSocket(isIpv6(address) ? 'udp6' : 'udp4')
  udp.on('message', (message, from) => {
    const answer = answerQuery(message, { ...options, transport: 'udp' })
    // A client that is gone by now is none of our business.
    if (answer) udp.send(answer, from.port, from.address, () => undefined)
  })
  udp.bind(options.port, address)
  await once(udp, 'listening') // rejects on 'error'
  udp.on('error', (error) => log.warn('DNS socket failed', { error: error.message }))
  const { port } = udp.address()

  const open = new Set<Socket>()
  const tcp = createServer((socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    answerStream(socket, options)
  })
  tcp.maxConnections = maxConnections
  tcp.listen(port, address)
  await once(tcp, 'listening')
  tcp.on('error', (error) => log.warn('DNS listener failed', { error: error.message }))
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy()
      await Promise.all([once(udp.close(), 'close'), once(tcp.close(), 'close')])
    },
  }
}

/** Each message has its length in front; at most one incomplete message (64 KiB) is held per connection. */
function answerStream(socket: Socket, options: DnsServerOptions): void {
  let held: Buffer = Buffer.alloc(0)
  socket.setTimeout(idleMs, () => socket.destroy())
  socket.on('error', () => undefined) // ends in 'close'
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
      const end = 2 + held.readUInt16BE(0)
      const answer = answerQuery(held.subarray(2, end), { ...options, transport: 'tcp' })
      held = held.subarray(end)
      if (!answer) return void socket.destroy()
      const length = Buffer.alloc(2)
      length.writeUInt16BE(answer.length)
      // A client that asks on without reading answers is let go.
      if (!socket.write(Buffer.concat([length, answer]))) return void socket.destroy()
    }
  })
}
