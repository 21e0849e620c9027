import {
  type ApplyRequest,
  type JsonObject,
  type KindType,
  prepare,
  recordUpdate,
  serverSideApply,
} from '../../../../sandbox/api/types/index.ts'
import { kindNamed } from './samples.ts'

/** One object in the store, as the API server would treat it. */
export class Store {
  object: JsonObject | undefined
  #clock = 0
  readonly kind: KindType
  constructor(kind: KindType) {
    this.kind = kind
  }
  #now() {
    return new Date(Date.UTC(2026, 0, 1, 0, 0, this.#clock++)).toISOString().replace('.000', '')
  }
  #stored(object: JsonObject) {
    return prepare(this.kind, object, { fieldValidation: 'Ignore' }).object
  }
  apply(manager: string, applied: JsonObject, more: Partial<ApplyRequest> = {}): string[] {
    const result = serverSideApply({
      kind: this.kind,
      live: this.object,
      applied,
      manager,
      force: false,
      subresource: '',
      now: this.#now(),
      ...more,
    })
    if ('reject' in result) return [result.reject]
    if ('conflicts' in result)
      return result.conflicts.map((conflict) => `${conflict.message}: ${conflict.field}`)
    this.object = this.#stored(result.object)
    return []
  }
  update(manager: string, after: JsonObject, subresource = '') {
    const now = this.#now()
    this.object = recordUpdate({
      kind: this.kind,
      before: this.object,
      after: this.#stored(after),
      manager,
      subresource,
      now,
    })
  }
  /** Update of the live object by a function, as a controller does. */
  edit(manager: string, change: (object: JsonObject) => void, subresource = '') {
    const after = structuredClone(this.object ?? {})
    change(after)
    this.update(manager, after, subresource)
  }
  entries(): JsonObject[] {
    return Object(this.object)['metadata']?.managedFields ?? []
  }
  owners(): string[] {
    return this.entries().map((e) =>
      [e['manager'], e['operation'], e['subresource']].filter(Boolean).join(' '),
    )
  }
  fields(manager: string): unknown {
    return this.entries().find((entry) => entry['manager'] === manager)?.['fieldsV1']
  }
  get data(): unknown {
    return this.object?.['data']
  }
}
/** A ConfigMap that nobody has written yet. */
export const menu = () => new Store(kindNamed('ConfigMap'))
