import type { Resource } from '#xds'
import type { Batch } from '../worker/index.ts'

/** Messages under way to a worker; what comes while it works on so many is merged, so that a flood costs no memory. */
const maxUnderWay = 8

/**
 * Brings the changes of the mesh to one worker, in order; what waits is at most one change per resource, and goes as one:
 * merged, what came between two changes of one type would else come before or after both.
 */
export class Feed {
  readonly #send: (batches: readonly Batch[]) => Promise<unknown>
  readonly #failed: (error: unknown) => void
  /** type → name → what it is now; undefined: removed */
  #waiting = new Map<string, Map<string, Resource | undefined>>()
  #underWay = 0
  #next: PromiseWithResolvers<void> | undefined

  constructor(send: (batches: readonly Batch[]) => Promise<unknown>, failed: (error: unknown) => void) {
    this.#send = send
    this.#failed = failed
  }

  push(...batches: readonly Batch[]): void {
    for (const { typeUrl, upserts, removed } of batches) {
      const changes = this.#waiting.get(typeUrl) ?? new Map<string, Resource | undefined>()
      this.#waiting.set(typeUrl, changes)
      for (const name of removed) changes.set(name, undefined)
      for (const resource of upserts) changes.set(resource.name, resource)
    }
    this.#pump()
  }

  /** Resolves when everything that was pushed so far is on its way, before anything that is sent later. */
  sent(): Promise<void> {
    if (this.#waiting.size === 0) return Promise.resolve()
    this.#next ??= Promise.withResolvers<void>()
    return this.#next.promise
  }

  #pump(): void {
    if (this.#underWay >= maxUnderWay || this.#waiting.size === 0) return
    const waiting = this.#waiting
    this.#waiting = new Map()
    void this.#sendAll([...waiting].map(([typeUrl, changes]) => batchOf(typeUrl, changes)))
    this.#next?.resolve()
    this.#next = undefined
  }

  async #sendAll(batches: readonly Batch[]): Promise<void> {
    this.#underWay++
    try {
      await this.#send(batches)
    } catch (error) {
      this.#failed(error)
    } finally {
      this.#underWay--
      this.#pump()
    }
  }
}

function batchOf(typeUrl: string, changes: ReadonlyMap<string, Resource | undefined>): Batch {
  const upserts = [...changes.values()].filter((resource) => resource !== undefined)
  const removed = [...changes].filter(([, resource]) => resource === undefined).map(([name]) => name)
  return { typeUrl, upserts, removed }
}
