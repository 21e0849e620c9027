import type {
  Body,
  BodyReader,
  BodyWriter,
  BodyWriterUser,
  Exchange,
  ResetReason,
  Response,
} from './exchange.ts'
import type { HeaderList } from './header-list.ts'

/** Copies a body as it comes, as fast as its writer takes it; what breaks one side breaks the other. */
export function relay(body: Body, writer: BodyWriter): void {
  const one = new Relay(body, writer)
  writer.use(one)
  body.read(one)
}

/** Answers with an upstream's response. One without a body stays so: gRPC's errors are answers that end with their head. */
export function passOn(response: Response, exchange: Exchange): void {
  const { head, body } = response
  if (body.length === 0) {
    exchange.respond(head, 'none')
    body.discard()
  } else relay(body, exchange.respond(head, 'follows'))
}

class Relay implements BodyReader, BodyWriterUser {
  readonly #body: Body
  readonly #writer: BodyWriter

  constructor(body: Body, writer: BodyWriter) {
    this.#body = body
    this.#writer = writer
  }

  bytes(buffer: Buffer, start: number, end: number): boolean {
    return this.#writer.write(buffer, start, end)
  }

  end(trailers: HeaderList | undefined): void {
    this.#writer.end(trailers)
  }

  broken(reason: ResetReason): void {
    this.#writer.reset(reason)
  }

  drained(): void {
    this.#body.resume()
  }

  stopped(): void {
    this.#body.discard()
  }
}
