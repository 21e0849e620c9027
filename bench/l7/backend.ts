/**
 * The application and what stands before it, in a process of its own: HBONE on 127.x.y.z:15008 as a ztunnel terminates it
 * and mutual TLS on a free port. HTTP/1.1 (`/bytes/<n>` is answered with so many bytes, all else with 1 KiB), and gRPC in
 * tunnels to port 9090. Told by its parent what to be, and ends with it.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { type ByteStream, type BytesUser, serveHbone, socketBytes } from '#hbone'
import { type Exchange, HeaderList, serveHttp } from '#http'
import type { WorkloadCertificate } from '#identity'
import { message } from './grpc.ts'
import { grpcPort, type Orders } from './orders.ts'

const kib = Buffer.concat([
  Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n'),
  Buffer.alloc(1024, 'x'),
])
const piece = Buffer.alloc(64 << 10, 'x')
/** Longest `GET /bytes/<n>`. */
const longestStart = 40

/** HTTP/1.1 that costs next to nothing: one request at a time comes, in one piece or with its end in the last. */
class Answerer implements BytesUser {
  readonly #stream: ByteStream
  #start = ''
  #left = 0

  constructor(stream: ByteStream) {
    this.#stream = stream
    stream.use(this)
  }

  bytes(buffer: Buffer, start: number, end: number): number {
    if (this.#start === '')
      this.#start = buffer.toString('latin1', start, Math.min(end, start + longestStart))
    if (buffer.toString('latin1', end - 4, end) !== '\r\n\r\n') return end
    const asked = /^GET \/bytes\/(\d+) /.exec(this.#start)?.[1]
    this.#start = ''
    if (asked === undefined) this.#stream.write(kib, 0, kib.length)
    else {
      this.#left = Number(asked)
      this.#stream.text(`HTTP/1.1 200 OK\r\nContent-Length: ${asked}\r\n\r\n`)
      this.drained()
    }
    return end
  }

  drained(): void {
    while (this.#left > 0) {
      const n = Math.min(this.#left, piece.length)
      this.#left -= n
      if (!this.#stream.write(piece, 0, n)) return
    }
  }

  ended(): void {
    this.#stream.end()
  }
  closed(): void {}
}

/** Answers a unary call when the whole of it is here. */
function echo(exchange: Exchange): void {
  exchange.body.read({
    bytes: () => true,
    end: () => {
      const headers = new HeaderList(['content-type', 'application/grpc'])
      const writer = exchange.respond({ status: 200, headers }, 'follows')
      writer.write(message, 0, message.length)
      writer.end(new HeaderList(['grpc-status', '0']))
    },
    broken: () => undefined,
  })
}

function serve(stream: ByteStream, isGrpc: boolean): void {
  if (isGrpc) serveHttp(stream, { version: 'HTTP/2', scheme: 'http', onExchange: echo })
  else new Answerer(stream)
}

async function listenHbone(address: string, certificate: WorkloadCertificate): Promise<void> {
  const signal = new AbortController().signal
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => undefined)
    serveHbone(socket, {
      certificate,
      signal,
      onTunnel: (tunnel) => {
        tunnel.accept()
        serve(tunnel.byteStream(), tunnel.authority.endsWith(`:${grpcPort}`))
      },
    })
  })
  server.listen(15008, address)
  await once(server, 'listening')
}

async function listenTls(own: WorkloadCertificate): Promise<number> {
  const server = createTlsServer(
    {
      cert: own.chainPem.join(''),
      key: own.privateKeyPem,
      ca: [...own.rootsPem],
      requestCert: true,
      minVersion: 'TLSv1.3',
      noDelay: true,
    },
    (socket) => {
      socket.on('error', () => undefined)
      serve(socketBytes(socket), false)
    },
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

process.on('disconnect', () => process.exit(0))
process.once('message', ({ address, certificate }: Orders) => {
  void listenHbone(address, certificate)
    .then(() => listenTls(certificate))
    .then((tlsPort) => process.send?.({ tlsPort }))
})
