import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { ip, isIpv6 } from '#base'
import { bindSocket, type Netns, tcpSocket } from '#linux'

/** Apps that remember every connection and every byte; they answer what was sent to them. */
export class Recorder {
  /** `name:port` of each connection, in order. */
  readonly accepted: string[] = []
  readonly #received: Buffer[] = []
  readonly #servers: Server[] = []

  async listen(netns: Netns, name: string, ports: readonly number[], on = '::'): Promise<void> {
    for (const port of ports) {
      const fd = tcpSocket({ netns, family: isIpv6(ip(on)) ? 'ipv6' : 'ipv4', reuseAddress: true })
      bindSocket(fd, { address: ip(on), port })
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        this.accepted.push(`${name}:${port}`)
        socket.on('error', () => undefined)
        socket.on('data', (part: Buffer) => this.#received.push(part))
        socket.pipe(socket)
      })
      server.listen({ fd })
      await once(server, 'listening')
      this.#servers.push(server)
    }
  }

  get received(): string {
    return Buffer.concat(this.#received).toString('latin1')
  }

  [Symbol.dispose](): void {
    for (const server of this.#servers) server.close()
  }
}
