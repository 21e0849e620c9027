/** A proxy to measure: `node bench/http/proxy.ts lateen|node <port of the origin>`; says its port and proxies until it is killed. */
import * as http from 'node:http'
import { connect, createServer, type Server } from 'node:net'
import { once } from 'node:events'
import { socketBytes } from '#hbone'
import { HeaderList, HttpPool, passOn, type PoolDestination, serveHttp } from '#http'

const [kind, originPort] = process.argv.slice(2)
const port = Number(originPort)

function lateen(): Server {
  const pool = new HttpPool()
  const to: PoolDestination = {
    key: 'origin',
    group: 'origin',
    version: 'HTTP/1.1',
    policy: {
      maxConnections: 1024,
      maxPending: 1024,
      maxRequests: 1024,
      maxRequestsPerConnection: 0,
      maxConcurrentStreams: 100,
      connectMs: 5_000,
      idleMs: 60_000,
      maxConnectionMs: 0,
    },
    dial: async () => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
      await once(socket, 'connect')
      return socketBytes(socket)
    },
  }
  return createServer({ allowHalfOpen: true }, (socket) => {
    serveHttp(socketBytes(socket), {
      version: 'HTTP/1.1',
      scheme: 'http',
      onExchange: (exchange) => {
        void pool.send(to, exchange.request, exchange.body, { signal: exchange.gone }).then((outcome) => {
          if (outcome.kind === 'response') passOn(outcome.response, exchange)
          else exchange.respond({ status: 503, headers: new HeaderList() }, 'none')
        })
      },
    })
  })
}

/** The shortest proxy that Node's own HTTP makes. */
function node(): Server {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1024 })
  return http.createServer((request, response) => {
    const { method, url, headers } = request
    const options = { port, host: '127.0.0.1', agent, method, path: url, headers }
    const onward = http.request(options, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  })
}

const server = kind === 'node' ? node() : lateen()
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
process.on('SIGINT', () => process.exit(0))
process.stdout.write(`${typeof address === 'object' && address ? address.port : 0}\n`)
