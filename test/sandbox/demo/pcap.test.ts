import t from 'tap'
import { type Frame, frameCounter, pcapReader, tcpSegment } from '../../../sandbox/demo/pcap.ts'

const ethernet = (etherType: number, ip: Buffer) => {
  const header = Buffer.alloc(14)
  header.writeUInt16BE(etherType, 12)
  return Buffer.concat([header, ip])
}
const tcp = (source: number, destination: number, payload: string) => {
  const header = Buffer.alloc(20)
  header.writeUInt16BE(source, 0)
  header.writeUInt16BE(destination, 2)
  header[12] = 5 << 4
  return Buffer.concat([header, Buffer.from(payload)])
}
const ipv4 = (body: Buffer, protocol = 6) => {
  const header = Buffer.alloc(20)
  header[0] = 0x45
  header.writeUInt16BE(20 + body.length, 2)
  header[9] = protocol
  return ethernet(0x0800, Buffer.concat([header, body]))
}
const ipv6 = (body: Buffer) => {
  const header = Buffer.alloc(40)
  header[0] = 0x60
  header.writeUInt16BE(body.length, 4)
  header[6] = 6
  return ethernet(0x86dd, Buffer.concat([header, body]))
}
const pcap = (...frames: Buffer[]) => {
  const file = Buffer.alloc(24)
  file.writeUInt32LE(0xa1b2c3d4, 0)
  file.writeUInt32LE(1, 20)
  const records = frames.map((frame) => {
    const header = Buffer.alloc(16)
    header.writeUInt32LE(frame.length, 8)
    header.writeUInt32LE(frame.length, 12)
    return Buffer.concat([header, frame])
  })
  return Buffer.concat([file, ...records])
}

t.test('frames come out whole however the stream is cut', async (t) => {
  const stream = pcap(ipv4(tcp(1, 2, 'first')), ipv6(tcp(3, 4, 'second')))
  for (const size of [1, 7, 33, stream.length]) {
    const frames: Frame[] = []
    const read = pcapReader((frame) => frames.push(frame))
    for (let at = 0; at < stream.length; at += size) read(stream.subarray(at, at + size))
    t.same(
      frames.map((frame) => tcpSegment(frame)).map((found) => [found?.source, found?.payload.toString()]),
      [
        [1, 'first'],
        [3, 'second'],
      ],
    )
  }
})

t.test('the marker is found in any frame, HTTP only outside HBONE, padding is no payload', async (t) => {
  const { counts, add } = frameCounter('espresso')
  const frame = (bytes: Buffer): Frame => ({ bytes, linkType: 1 })
  add(frame(ipv4(tcp(40_000, 8080, 'GET /espresso HTTP/1.1\r\n'))))
  add(frame(ipv6(tcp(15_008, 40_000, '\x17\x03\x03 sealed'))))
  add(frame(Buffer.concat([ipv4(tcp(40_000, 8080, '')), Buffer.from('HTTP/1.1')])))
  add(frame(ipv4(Buffer.from('datagram with espresso'), 17)))
  add(frame(ipv6(tcp(40_000, 15_008, 'espresso in the clear'))))
  t.match(counts, {
    frames: 5,
    withMarker: 3,
    withMarkerOverIpv6: 1,
    withHttp: 1,
    hbone: 2,
    hboneOverIpv6: 2,
  })
  t.equal(counts.sample, 'GET /espresso HTTP/1.1\n')
})

t.test('what is no capture is refused', async (t) => {
  t.throws(() => pcapReader(() => undefined)(Buffer.alloc(24)), RangeError)
  const huge = pcap(Buffer.alloc(4))
  huge.writeUInt32LE(0x7fffffff, 24 + 8)
  t.throws(() => pcapReader(() => t.fail('no frame'))(huge), RangeError)
})
