import type { ByteStream } from '#hbone'
import type { Exchange } from '../exchange.ts'
import type { HttpLimits } from '../limits.ts'
import type { HttpServerConnection, HttpServerEnd } from '../server.ts'
import { H2Exchange } from './exchange.ts'
import { H2Link } from './link.ts'

type H2ServerOptions = Readonly<{
  limits: HttpLimits
  scheme: string
  onExchange(exchange: Exchange): void
}>

/** Serves HTTP/2 on one connection. */
export class H2Server implements HttpServerConnection {
  readonly version = 'HTTP/2'
  readonly #link: H2Link
  readonly #done = Promise.withResolvers<HttpServerEnd>()
  readonly done = this.#done.promise

  constructor(stream: ByteStream, { limits, scheme, onExchange }: H2ServerOptions) {
    const link = new H2Link(
      stream,
      'server',
      limits,
      {
        request: (one, message) => onExchange(new H2Exchange(link, one, message, scheme)),
        ready: () => undefined,
        goaway: () => link.drain(),
      },
      (error) => this.#done.resolve({ error }),
    )
    this.#link = link
    link.start()
  }

  get exchanges(): number {
    return this.#link.connection.streamCount
  }

  drain(): void {
    this.#link.drain()
  }

  destroy(): void {
    this.#link.destroy()
  }
}
