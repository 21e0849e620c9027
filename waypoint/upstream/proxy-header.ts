import { ipToBytes, isIpv6, type Ip, type SocketAddress } from '#base'

/** Both ends of the connection that a client has opened. */
export type Ends = Readonly<{ source: SocketAddress; destination: SocketAddress }>

const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])
/** Version 2, PROXY; TCP over IPv4 or IPv6. */
const [command, tcp4, tcp6] = [0x21, 0x11, 0x21]

const mapped = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
const as6 = (address: Ip): Buffer => {
  const bytes = Buffer.from(ipToBytes(address))
  return bytes.length === 4 ? Buffer.concat([mapped, bytes]) : bytes
}

/** What the PROXY protocol says before the first byte. Where the families differ both ends are told as IPv6. */
export function proxyHeader(version: 'v1' | 'v2', { source, destination }: Ends): Buffer {
  const is6 = isIpv6(source.address) || isIpv6(destination.address)
  if (version === 'v1') {
    const text = (address: Ip) => (is6 && !isIpv6(address) ? `::ffff:${address}` : address)
    const [from, to] = [text(source.address), text(destination.address)]
    return Buffer.from(
      `PROXY TCP${is6 ? 6 : 4} ${from} ${to} ${source.port} ${destination.port}\r\n`,
      'latin1',
    )
  }
  const bytes = is6 ? as6 : (address: Ip) => Buffer.from(ipToBytes(address))
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(source.port, 0)
  ports.writeUInt16BE(destination.port, 2)
  const body = Buffer.concat([bytes(source.address), bytes(destination.address), ports])
  const head = Buffer.from([command, is6 ? tcp6 : tcp4, 0, body.length])
  return Buffer.concat([signature, head, body])
}
