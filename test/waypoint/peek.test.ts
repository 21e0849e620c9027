import { connect } from 'node:tls'
import { Duplex } from 'node:stream'
import t from 'tap'
import type { ByteStream, BytesUser } from '#hbone'
import { PeekedStream } from '../../waypoint/proxy/peek.ts'

/** A stream that gives what it is told to, and keeps what its user does not take. */
class Fed implements ByteStream {
  user: BytesUser | undefined
  #rest = Buffer.alloc(0)
  readonly pending = 0

  feed(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes])
    this.resume()
  }
  use(user: BytesUser): void {
    this.user = user
    this.resume()
  }
  resume(): void {
    const bytes = this.#rest
    if (bytes.length > 0) this.#rest = bytes.subarray(this.user?.bytes(bytes, 0, bytes.length) ?? 0)
  }
  write(): boolean {
    return true
  }
  text(): boolean {
    return true
  }
  end(): void {}
  destroy(): void {}
}

/** What reads it in the end. */
class Reader implements BytesUser {
  got = ''
  bytes(buffer: Buffer, start: number, end: number): number {
    this.got += buffer.toString('latin1', start, end)
    return end
  }
  ended(): void {}
  drained(): void {}
  closed(): void {}
}

async function helloOf(servername: string): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const wire = new Duplex({ read() {}, write: (chunk: Buffer) => resolve(chunk) })
  const socket = connect({ socket: wire, servername })
  socket.on('error', () => undefined)
  const hello = await promise
  socket.destroy()
  return hello
}

/** The same handshake, one byte of it per record. */
function torn(hello: Buffer): Buffer {
  const records: Buffer[] = []
  for (let at = 5; at < 5 + hello.readUInt16BE(3); at++)
    records.push(Buffer.from([22, 3, 1, 0, 1, hello[at] ?? 0]))
  return Buffer.concat(records)
}

function inPieces(bytes: Buffer): PeekedStream & { fed: Fed } {
  const fed = new Fed()
  const peeked = Object.assign(new PeekedStream(fed), { fed })
  setImmediate(() => {
    for (let i = 0; i < bytes.length; i++) fed.feed(bytes.subarray(i, i + 1))
  })
  return peeked
}

const hello = await helloOf('a.example')

for (const [title, bytes] of [
  ['byte by byte', hello],
  ['a byte per record', torn(hello)],
] as const)
  t.test(`a client hello that comes ${title} has its name, and is whole for who reads it`, async (t) => {
    const peeked = inPieces(bytes)
    t.equal(await peeked.serverName(20_000), 'a.example')
    const reader = new Reader()
    peeked.use(reader)
    peeked.fed.feed(Buffer.from('more'))
    t.equal(reader.got, `${bytes.toString('latin1')}more`)
  })

t.test('one that never ends has no name', async (t) => {
  const length = 16_384
  const endless = Buffer.concat(
    [0, 1, 2, 3].map(() => Buffer.concat([Buffer.from([22, 3, 1, 0x10, 0]), Buffer.alloc(0x1000)])),
  )
  // A hello of 16 KiB, less four bytes.
  endless.set([1, 0, (length - 4) >> 8, (length - 4) & 255], 5)
  const peeked = inPieces(endless)
  t.equal(await peeked.serverName(20_000), '')
  const reader = new Reader()
  peeked.use(reader)
  t.equal(reader.got.length, endless.length, 'and all of it is there')
})

t.test('what is looked at is passed on as it came, whatever was found', async (t) => {
  for (const text of [
    'GET / HTTP/1.1\r\n\r\n',
    'hello',
    '\r\nGET / HTTP/1.1\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ]) {
    const peeked = inPieces(Buffer.from(text))
    await peeked.sniff(20_000)
    const reader = new Reader()
    peeked.use(reader)
    t.equal(reader.got, text)
  }
})
