import { MeshError } from '#base'
import type { ExchangeEnd, ResetReason } from './exchange.ts'

/** How an exchange ended, for those who ask: most ask for one of the two or for none. */
export class ExchangeOutcome {
  #end: ExchangeEnd | undefined
  #waiting: PromiseWithResolvers<ExchangeEnd> | undefined
  #gone: AbortController | undefined

  get over(): boolean {
    return this.#end !== undefined
  }

  get ended(): Promise<ExchangeEnd> {
    this.#waiting ??= Promise.withResolvers()
    if (this.#end) this.#waiting.resolve(this.#end)
    return this.#waiting.promise
  }

  get gone(): AbortSignal {
    this.#gone ??= new AbortController()
    if (this.#end?.kind === 'broken' && this.#end.by === 'downstream') this.#abort(this.#end.reason)
    return this.#gone.signal
  }

  settle(end: ExchangeEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#waiting?.resolve(end)
    if (end.kind === 'broken' && end.by === 'downstream') this.#abort(end.reason)
  }

  #abort(reason: ResetReason): void {
    this.#gone?.abort(new MeshError('protocol', { message: `downstream is gone: ${reason}` }))
  }
}
