import { timerMs } from '#base'
import type { H2Connection } from '#hbone'

/** What nobody else's PING carries. */
const question = Buffer.from('lateenka', 'latin1')

type Times = Readonly<{ keepAliveMs: number; keepAliveTimeoutMs: number }>

/** Asks a peer now and then whether it is there (facts: l7.md §2.2, http2KeepAlive); one that says nothing in time is gone. */
export class KeepAlive implements Disposable {
  readonly #asking: NodeJS.Timeout | undefined
  #waiting: NodeJS.Timeout | undefined

  constructor(
    { keepAliveMs, keepAliveTimeoutMs }: Times,
    connection: H2Connection,
    { flush, lost }: Readonly<{ flush: () => void; lost: () => void }>,
  ) {
    if (keepAliveMs === 0) return
    const ask = () => {
      if (this.#waiting !== undefined) return
      connection.ping(question)
      this.#waiting = setTimeout(lost, timerMs(keepAliveTimeoutMs)).unref()
      flush()
    }
    this.#asking = setInterval(ask, timerMs(keepAliveMs)).unref()
  }

  /** Whatever comes, somebody is there: an answer may wait behind much else. */
  heard(): void {
    if (this.#waiting === undefined) return
    clearTimeout(this.#waiting)
    this.#waiting = undefined
  }

  [Symbol.dispose](): void {
    clearInterval(this.#asking)
    this.heard()
  }
}
