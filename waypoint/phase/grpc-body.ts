import type { Body, BodyReader, HeaderList } from '#http'

/** Flags and length, before every message of gRPC. */
const prefixBytes = 5

/** A body of gRPC that counts its messages as they come by; nothing of it is held or changed. */
export class GrpcBody implements Body {
  readonly #body: Body
  readonly #onEnd: ((trailers: HeaderList | undefined) => void) | undefined
  /** Of the prefix at hand; then of the message behind it. */
  #prefix = 0
  #length = 0
  #left = 0
  messages = 0

  /** `onEnd` hears of the trailers. */
  constructor(body: Body, onEnd?: (trailers: HeaderList | undefined) => void) {
    this.#body = body
    this.#onEnd = onEnd
  }

  get length(): number | undefined {
    return this.#body.length
  }
  get received(): number {
    return this.#body.received
  }

  read(reader: BodyReader): void {
    this.#body.read({
      bytes: (buffer, start, end) => {
        this.#count(buffer, start, end)
        return reader.bytes(buffer, start, end)
      },
      end: (trailers) => {
        this.#onEnd?.(trailers)
        reader.end(trailers)
      },
      broken: (reason) => reader.broken(reason),
    })
  }

  resume(): void {
    this.#body.resume()
  }

  discard(): void {
    this.#body.discard()
  }

  #count(buffer: Buffer, start: number, end: number): void {
    for (let at = start; at < end; ) {
      if (this.#prefix < prefixBytes) {
        // The first byte says whether it is compressed.
        if (this.#prefix > 0) this.#length = this.#length * 256 + (buffer[at] ?? 0)
        at++
        if (++this.#prefix < prefixBytes) continue
        this.messages++
        this.#left = this.#length
      }
      const piece = Math.min(end - at, this.#left)
      at += piece
      this.#left -= piece
      if (this.#left > 0) return
      this.#prefix = 0
      this.#length = 0
    }
  }
}
