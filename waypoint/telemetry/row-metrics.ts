import { Counter, type Registry } from '#telemetry'
import type { Labels } from './labels.ts'

type Value = { labels: Labels; value: number }

/** A counter whose values are made when it is read, rather than looked up by 25 labels whenever it counts. */
export class RowCounter extends Counter {
  readonly #values: () => readonly Value[]

  constructor(
    registry: Registry,
    name: string,
    help: string,
    labelNames: readonly string[],
    values: () => readonly Value[],
  ) {
    super({ name, help, labelNames: [...labelNames], registers: [registry] })
    this.#values = values
  }

  override async get() {
    return { ...(await super.get()), values: [...this.#values()] }
  }
}
