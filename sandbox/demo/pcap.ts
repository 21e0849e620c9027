/** One captured frame: link-layer bytes as they were on the wire. */
export type Frame = Readonly<{ bytes: Buffer; linkType: number }>

const fileHeaderBytes = 24
const recordHeaderBytes = 16
/** tcpdump's own limit of bytes per frame; a record that claims more is not a capture of ours. */
const maxFrameBytes = 262_144

/** A reader of the pcap stream that `tcpdump -U -w -` writes: bytes in, whole frames out. Throws on what is no pcap. */
export function pcapReader(onFrame: (frame: Frame) => void): (chunk: Buffer) => void {
  let held: Buffer = Buffer.alloc(0)
  let linkType: number | undefined
  return (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    let at = 0
    if (linkType === undefined) {
      if (held.length < fileHeaderBytes) return
      if (held.readUInt32LE(0) !== 0xa1b2c3d4) throw new RangeError('not a little-endian pcap stream')
      linkType = held.readUInt32LE(20)
      at = fileHeaderBytes
    }
    while (held.length - at >= recordHeaderBytes) {
      const length = held.readUInt32LE(at + 8)
      if (length > maxFrameBytes) throw new RangeError(`frame of ${length} bytes`)
      if (held.length - at < recordHeaderBytes + length) break
      const start = at + recordHeaderBytes
      onFrame({ bytes: Buffer.from(held.subarray(start, start + length)), linkType })
      at = start + length
    }
    held = held.subarray(at)
  }
}

type TcpSegment = Readonly<{ family: 4 | 6; source: number; destination: number; payload: Buffer }>

/** The TCP segment of an Ethernet frame that carries IPv4 or IPv6 (without extension headers); undefined for other frames. */
export function tcpSegment({ bytes, linkType }: Frame): TcpSegment | undefined {
  const ethernet = 1
  if (linkType !== ethernet || bytes.length < 14) return undefined
  const etherType = bytes.readUInt16BE(12)
  const ip = bytes.subarray(14)
  const tcp = etherType === 0x0800 ? afterIpv4(ip) : etherType === 0x86dd ? afterIpv6(ip) : undefined
  if (!tcp || tcp.length < 20) return undefined
  const offset = ((tcp[12] ?? 0) >> 4) * 4
  const family = etherType === 0x0800 ? 4 : 6
  return {
    family,
    source: tcp.readUInt16BE(0),
    destination: tcp.readUInt16BE(2),
    payload: tcp.subarray(offset),
  }
}

const tcpProtocol = 6

function afterIpv4(ip: Buffer): Buffer | undefined {
  if (ip.length < 20 || ip[9] !== tcpProtocol) return undefined
  // The total length leaves out Ethernet's padding of short frames.
  return ip.subarray(((ip[0] ?? 0) & 15) * 4, ip.readUInt16BE(2) || ip.length)
}

const afterIpv6 = (ip: Buffer): Buffer | undefined =>
  ip.length < 40 || ip[6] !== tcpProtocol
    ? undefined
    : ip.subarray(40, 40 + (ip.readUInt16BE(4) || ip.length))

/** What a capture is asked: how many frames show the marker, how many look like HTTP, how many are HBONE's TLS. */
export type FrameCounts = {
  frames: number
  withMarker: number
  withMarkerOverIpv6: number
  withHttp: number
  hbone: number
  hboneOverIpv6: number
  sample: string | undefined
}

const hbonePort = 15_008
const httpText = /HTTP\/1\.1|^(?:GET|POST) \//

/** Counts frames. `marker` is searched in all bytes of every frame, whatever the protocol. */
export function frameCounter(marker: string): { counts: FrameCounts; add: (frame: Frame) => void } {
  const needle = Buffer.from(marker)
  const counts: FrameCounts = {
    frames: 0,
    withMarker: 0,
    withMarkerOverIpv6: 0,
    withHttp: 0,
    hbone: 0,
    hboneOverIpv6: 0,
    sample: undefined,
  }
  return {
    counts,
    add: (frame) => {
      counts.frames++
      const marked = frame.bytes.includes(needle)
      if (marked) counts.withMarker++
      const tcp = tcpSegment(frame)
      if (!tcp || tcp.payload.length === 0) return
      const overIpv6 = tcp.family === 6 ? 1 : 0
      if (marked) counts.withMarkerOverIpv6 += overIpv6
      if (tcp.source === hbonePort || tcp.destination === hbonePort) {
        counts.hbone++
        counts.hboneOverIpv6 += overIpv6
      } else if (httpText.test(tcp.payload.toString('latin1'))) counts.withHttp++
      if (marked) counts.sample ??= printable(tcp.payload)
    },
  }
}

/** Bytes as text for a terminal: control characters become dots, lines stay. */
const printable = (bytes: Buffer) =>
  bytes
    .toString('latin1')
    .replaceAll(/[^\n\x20-\x7e]/g, '')
    .slice(0, 600)
