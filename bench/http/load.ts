import { once } from 'node:events'
import { createServer, connect, type Server, type Socket } from 'node:net'

const endOfHead = '\r\n\r\n'
/** A request as a client in a mesh sends it. */
const request = Buffer.from(
  [
    'GET /api/v1/items?page=2 HTTP/1.1',
    'Host: items.shop.svc.cluster.local:8080',
    'User-Agent: bench/1.0',
    'Accept: application/json',
    'Accept-Encoding: gzip, deflate',
    'X-Request-Id: 6f0d2f0e-9c1a-4c51-9f52-2b60b1c5b8ee',
    'Cookie: session=0123456789abcdef',
  ].join('\r\n') + endOfHead,
)

/** An origin that costs next to nothing: `bodyBytes` for every head that arrives. */
export async function startOrigin(bodyBytes: number): Promise<{ server: Server; port: number }> {
  const answer = Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${bodyBytes}${endOfHead}`),
    Buffer.alloc(bodyBytes, 'x'),
  ])
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      // One request at a time comes, in one piece or with its end in the last.
      if (bytes.toString('latin1', bytes.length - 4) === endOfHead) socket.write(answer)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return { server, port: typeof address === 'object' && address ? address.port : 0 }
}

class Client {
  readonly socket: Socket
  readonly #bodyBytes: number
  #left = 0
  #inBody = false
  #rest = ''
  done = 0
  latencies: number[] = []
  #sentAt = 0

  constructor(port: number, bodyBytes: number) {
    this.#bodyBytes = bodyBytes
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.socket.on('data', (bytes: Buffer) => this.#take(bytes))
  }

  ask(): void {
    this.#sentAt = performance.now()
    this.socket.write(request)
  }

  #take(bytes: Buffer): void {
    let body = bytes.length
    if (!this.#inBody) {
      const text = this.#rest + bytes.toString('latin1')
      const end = text.indexOf(endOfHead)
      if (end < 0) {
        this.#rest = text
        return
      }
      if (!text.startsWith('HTTP/1.1 200')) throw new Error(`not the answer: ${text.slice(0, 200)}`)
      this.#rest = ''
      this.#inBody = true
      this.#left = this.#bodyBytes
      body = text.length - end - endOfHead.length
    }
    this.#left -= body
    if (this.#left > 0) return
    this.#inBody = false
    this.done++
    this.latencies.push(performance.now() - this.#sentAt)
    this.ask()
  }
}

type Measured = Readonly<{ requests: number; seconds: number; latencies: readonly number[] }>

/** Keeps `connections` busy, one request at a time on each; what comes in the first half second is not counted. */
export async function load(
  port: number,
  o: Readonly<{ connections: number; bodyBytes: number; seconds: number; counting: () => void }>,
): Promise<Measured> {
  const clients = Array.from({ length: o.connections }, () => new Client(port, o.bodyBytes))
  await Promise.all(clients.map(({ socket }) => once(socket, 'connect')))
  for (const client of clients) client.ask()
  await new Promise((resolve) => setTimeout(resolve, 500))
  o.counting()
  for (const client of clients) {
    client.done = 0
    client.latencies = []
  }
  const started = performance.now()
  await new Promise((resolve) => setTimeout(resolve, o.seconds * 1000))
  const seconds = (performance.now() - started) / 1000
  const requests = clients.reduce((sum, { done }) => sum + done, 0)
  const latencies = clients.flatMap((client) => client.latencies)
  for (const { socket } of clients) socket.destroy()
  return { requests, seconds, latencies }
}
