import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { SocketAddress } from '#base'
import { bindSocket, closeFd, fdOf, originalDst, tcpSocket } from '#linux'
import type { Bind, DnsServer } from './bind.ts'
import { handleMessage, type Resolver } from './handle-message.ts'

/** Resolvers use one or two connections; the rest of a pod's is some fault, or a flood. */
const maxConnections = 64
/** Questions of one connection that may wait for their answers; until then no further one is read. */
const maxPipelined = 16
const maxQuestionBytes = 4_096
const backlog = 128

type TcpServerOptions = Bind &
  Readonly<{ resolver: Resolver; admit: (fd: number | undefined) => Disposable | undefined }>

/** Answers connections on one loopback address of the pod. */
export async function serveTcp(options: TcpServerOptions): Promise<DnsServer> {
  const { netns, mark, address, family, resolver, admit } = options
  const open = new Map<Socket, { end(): void }>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined) // ends in 'close'
    const room = open.size < maxConnections ? admit(fdOf(socket)) : undefined
    if (!room) return void socket.resetAndDestroy()
    socket.on('close', () => {
      open.delete(socket)
      room[Symbol.dispose]()
    })
    open.set(socket, answerStream(socket, address, resolver))
  })
  server.on('error', (error) => resolver.log.debug('DNS listener failed', { error: error.message }))
  const fd = tcpSocket({ netns, family, mark, reusePort: true, reuseAddress: true, v6only: true })
  try {
    bindSocket(fd, address)
  } catch (error) {
    closeFd(fd)
    throw error
  }
  server.listen({ fd, backlog })
  await once(server, 'listening')
  const closed = new Promise<void>((done) => server.once('close', done))
  return {
    drain: async () => {
      server.close()
      for (const stream of open.values()) stream.end()
      await closed
    },
    [Symbol.asyncDispose]: async () => {
      server.close()
      for (const socket of open.keys()) socket.destroy()
      await closed
    },
  }
}

/** Whom the client dialled before it was redirected here; undefined when it dialled us. */
function askedOn(socket: Socket, own: SocketAddress): SocketAddress | undefined {
  const fd = fdOf(socket)
  const asked = fd === undefined ? undefined : originalDst(fd)
  return asked?.address === own.address && asked.port === own.port ? undefined : asked
}

/**
 * Each message has its length in front. Answers go out as they come; a client that does not read them is not read.
 * `end` closes it once it has had its answers.
 */
function answerStream(socket: Socket, own: SocketAddress, resolver: Resolver): { end(): void } {
  const { idleMs } = resolver.times
  let held: Buffer = Buffer.alloc(0)
  let begun = performance.now()
  let waiting = 0
  let served = 0
  let leaving = false
  let ended = false
  const asked = () => askedOn(socket, own)
  const send = (reply: Buffer | undefined) => {
    if (!reply || socket.destroyed) return
    const length = Buffer.allocUnsafe(2)
    length.writeUInt16BE(reply.length)
    socket.cork()
    socket.write(length)
    socket.write(reply)
    socket.uncork()
  }
  const isFull = () => waiting >= maxPipelined || socket.writableNeedDrain
  const take = () => {
    while (held.length >= 2 && !isFull() && !socket.destroyed) {
      const end = 2 + held.readUInt16BE(0)
      if (end - 2 > maxQuestionBytes) return void socket.destroy()
      if (held.length < end) break
      const bytes = held.subarray(2, end)
      held = held.subarray(end)
      begun = performance.now()
      if (!resolver.rate.allows()) {
        resolver.metrics.refused('rate')
        return void socket.destroy()
      }
      served++
      const reply = handleMessage(resolver, { bytes, transport: 'tcp', asked })
      if (reply instanceof Promise) {
        waiting++
        void reply.then(send).then(() => {
          waiting--
          take()
        })
      } else send(reply)
    }
    if (isFull()) return void socket.pause()
    socket.resume()
    // Who has only just connected has a question on its way.
    if ((ended || (leaving && served > 0)) && waiting === 0) socket.end()
  }
  socket.setNoDelay(true)
  socket.setTimeout(idleMs, () => socket.destroy())
  socket.on('drain', take)
  socket.on('end', () => {
    ended = true
    take()
  })
  socket.on('data', (chunk: Buffer) => {
    // Byte by byte is not idle, but it is not a question either.
    if (held.length > 0 && performance.now() - begun > idleMs) return void socket.destroy()
    if (held.length === 0) begun = performance.now()
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    take()
  })
  return {
    end: () => {
      leaving = true
      take()
    },
  }
}
