import type { ByteStream } from '#hbone'
import type { ResponseHead } from './exchange.ts'
import { HeaderList } from './header-list.ts'
import type { HttpLimits } from './limits.ts'

/** As much may wait for a client when an answer before the answer comes; who has not read that hears of the last one only. */
const maxPending = 64 << 10

/** The answers before the answer to one request, whatever number of upstreams makes them. */
export class Interims {
  #count = 0

  /** What is told of it; undefined: nothing. 100 is, without its fields: a client may wait for it. */
  admit(
    head: ResponseHead,
    { pending }: Pick<ByteStream, 'pending'>,
    { maxInterim }: HttpLimits,
  ): ResponseHead | undefined {
    const { status } = head
    if (status < 100 || status >= 200 || status === 101 || ++this.#count > maxInterim) return undefined
    if (pending <= maxPending) return head
    return status === 100 ? { status, headers: new HeaderList() } : undefined
  }
}
