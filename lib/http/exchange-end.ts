import { Ending, type EndSignal, MeshError } from '#base'
import type { ExchangeEnd, ResetReason } from './exchange.ts'

/** How an exchange ended, for those who ask: most ask for one of the two or for none. */
export class ExchangeOutcome {
  #end: ExchangeEnd | undefined
  #waiting: PromiseWithResolvers<ExchangeEnd> | undefined
  #gone: Ending | undefined
  #first: ((end: ExchangeEnd) => void) | undefined
  #others: ((end: ExchangeEnd) => void)[] | undefined

  get over(): boolean {
    return this.#end !== undefined
  }

  get ended(): Promise<ExchangeEnd> {
    this.#waiting ??= Promise.withResolvers()
    if (this.#end) this.#waiting.resolve(this.#end)
    return this.#waiting.promise
  }

  /** Told when it ends, in the middle of whatever ends it; at once if it has. */
  onEnd(told: (end: ExchangeEnd) => void): void {
    if (this.#end !== undefined) told(this.#end)
    else if (this.#first === undefined) this.#first = told
    else (this.#others ??= []).push(told)
  }

  get gone(): EndSignal {
    this.#gone ??= new Ending()
    if (this.#end?.kind === 'broken' && this.#end.by === 'downstream') this.#abort(this.#end.reason)
    return this.#gone
  }

  settle(end: ExchangeEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#waiting?.resolve(end)
    // Those that are told may follow it no longer.
    if (end.kind === 'broken' && end.by === 'downstream') this.#abort(end.reason)
    this.#first?.(end)
    if (this.#others !== undefined) for (const told of this.#others) told(end)
    this.#first = this.#others = undefined
  }

  #abort(reason: ResetReason): void {
    this.#gone?.abort(new MeshError('protocol', { message: `downstream is gone: ${reason}` }))
  }
}
