import { ipToBytes, isIpv6, type SocketAddress } from '#base'

const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])
const versionAndProxy = 0x21
const streamOverIpv4 = 0x11
const streamOverIpv6 = 0x21
/** A type of our own use: the identity that the peer has proved (istio: workload.proto ApplicationTunnel). */
const identityType = 0xd0

type ProxyHeader = Readonly<{
  source: SocketAddress
  /** Where the source meant to go. */
  destination: SocketAddress
  identity: string | undefined
}>

/** A PROXY protocol header of version 2 for an app that is told so where a connection comes from. */
export function proxyHeader({ source, destination, identity }: ProxyHeader): Buffer {
  // With two families both are written as IPv6, or the app would learn neither.
  const v6 = isIpv6(source.address) || isIpv6(destination.address)
  const addresses = [source, destination].map(({ address }) => inFamily(address, v6))
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(source.port, 0)
  ports.writeUInt16BE(destination.port, 2)
  const body = Buffer.concat([
    ...addresses,
    ports,
    identity === undefined ? empty : field(identityType, identity),
  ])
  const head = Buffer.alloc(4)
  head.writeUInt8(versionAndProxy, 0)
  head.writeUInt8(v6 ? streamOverIpv6 : streamOverIpv4, 1)
  head.writeUInt16BE(body.length, 2)
  return Buffer.concat([signature, head, body])
}

const empty = Buffer.alloc(0)
const mappedPrefix = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])

function inFamily(address: SocketAddress['address'], v6: boolean): Buffer {
  const bytes = Buffer.from(ipToBytes(address))
  return v6 && bytes.length === 4 ? Buffer.concat([mappedPrefix, bytes]) : bytes
}

function field(type: number, text: string): Buffer {
  const value = Buffer.from(text)
  const head = Buffer.alloc(3)
  head.writeUInt8(type, 0)
  head.writeUInt16BE(value.length, 1)
  return Buffer.concat([head, value])
}
