import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, Socket } from 'node:net'
import { ip, isIpv6, type SocketAddress } from '#base'
import { bindSocket, type Netns, tcpSocket, udpSocket } from '#linux'
import { a, read, response } from '../ztunnel/dns/kit.ts'
import { framed } from '../ztunnel/dns/servers.ts'

/** One question as a nameserver saw it. */
export type Asked = Readonly<{
  by: string
  name: string
  type: string
  transport: 'udp' | 'tcp'
  from: string
}>

/** A nameserver on port 53 of a namespace, both families and transports; it answers everything with `data`. */
export async function nameserverIn(
  netns: Netns,
  by: string,
  data: string,
  seen: Asked[],
): Promise<Disposable> {
  const note = (bytes: Buffer, transport: 'udp' | 'tcp', from = ''): Buffer => {
    const { question } = read(bytes)
    const { name = '', type = '' } = question ?? {}
    seen.push({ by, name, type, transport, from: from.replace('::ffff:', '') })
    return response(bytes, { answers: [a(name, data)] })
  }
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', (bytes: Buffer) =>
      socket.write(framed(note(bytes.subarray(2), 'tcp', socket.remoteAddress))),
    )
  })
  const tcp = tcpSocket({ netns, family: 'ipv6', reuseAddress: true })
  bindSocket(tcp, { address: ip('::'), port: 53 })
  server.listen({ fd: tcp })
  await once(server, 'listening')
  const udps = (['ipv4', 'ipv6'] as const).map((family) => {
    const fd = udpSocket({ netns, family, v6only: true })
    bindSocket(fd, { address: ip(family === 'ipv6' ? '::' : '0.0.0.0'), port: 53 })
    const udp = createSocket(family === 'ipv6' ? 'udp6' : 'udp4')
    udp.bind({ fd })
    udp.on('message', (bytes, from) => udp.send(note(bytes, 'udp', from.address), from.port, from.address))
    return udp
  })
  return {
    [Symbol.dispose]: () => {
      for (const socket of open) socket.destroy()
      for (const udp of udps) udp.close()
      server.close()
    },
  }
}

/** An app's UDP socket in a pod. */
export function udpIn(netns: Netns, family: 'ipv4' | 'ipv6', at?: SocketAddress): UdpSocket {
  const fd = udpSocket({ netns, family, v6only: true })
  bindSocket(fd, at ?? { address: ip(family === 'ipv6' ? '::' : '0.0.0.0'), port: 0 })
  const socket = createSocket(family === 'ipv6' ? 'udp6' : 'udp4')
  socket.bind({ fd })
  return socket
}

/** Asks as a resolver does: from a connected socket, which takes an answer from nobody else. */
export async function askUdpIn(
  netns: Netns,
  to: SocketAddress,
  bytes: Buffer,
  ms = 20_000,
): Promise<Buffer | undefined> {
  const socket = udpIn(netns, isIpv6(to.address) ? 'ipv6' : 'ipv4')
  try {
    socket.connect(to.port, to.address)
    await once(socket, 'connect')
    const reply = once(socket, 'message', { signal: AbortSignal.timeout(ms) })
    socket.send(bytes)
    const [answer]: unknown[] = await reply
    return Buffer.isBuffer(answer) ? answer : undefined
  } catch {
    return undefined
  } finally {
    socket.close()
  }
}

/** The same over TCP. */
export async function askTcpIn(
  netns: Netns,
  to: SocketAddress,
  bytes: Buffer,
  ms = 20_000,
): Promise<Buffer | undefined> {
  const socket = new Socket({ fd: tcpSocket({ netns, family: isIpv6(to.address) ? 'ipv6' : 'ipv4' }) })
  socket.on('error', () => undefined)
  try {
    socket.connect({ host: to.address, port: to.port })
    socket.write(framed(bytes))
    const [chunk]: unknown[] = await once(socket, 'data', { signal: AbortSignal.timeout(ms) })
    return Buffer.isBuffer(chunk) ? chunk.subarray(2) : undefined
  } catch {
    return undefined
  } finally {
    socket.destroy()
  }
}
