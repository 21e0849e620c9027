import type { Resource } from '#xds'
import type { Batch } from '../worker/index.ts'

/** Freed memory that is not worth the copying. */
const slackBytes = 1 << 20

/**
 * The bytes of every resource that is held, by which a new worker is told of the mesh. They are in shared memory: each
 * worker reads them where they are.
 */
export class HeldResources {
  readonly #types = new Map<string, Map<string, Resource>>()
  #live = 0
  /** Of the blocks in which live bytes are, as far as is known. */
  #allocated = 0

  /** Takes a change over, and returns it with its bytes in shared memory. */
  apply({ typeUrl, upserts, removed }: Batch): Batch {
    const held = this.#types.get(typeUrl) ?? new Map<string, Resource>()
    this.#types.set(typeUrl, held)
    for (const name of removed) this.#drop(held, name)
    const shared = moveToShared(upserts)
    for (const resource of shared) {
      this.#drop(held, resource.name)
      held.set(resource.name, resource)
      this.#live += resource.bytes.length
      this.#allocated += resource.bytes.length
    }
    if (this.#allocated > 2 * this.#live + slackBytes) this.#compact()
    return { typeUrl, upserts: shared, removed }
  }

  /** Everything that is held, for somebody who knows nothing. */
  batches(): readonly Batch[] {
    return [...this.#types].map(([typeUrl, held]) => ({ typeUrl, upserts: [...held.values()], removed: [] }))
  }

  get bytes(): Readonly<{ live: number; allocated: number }> {
    return { live: this.#live, allocated: this.#allocated }
  }

  #drop(held: Map<string, Resource>, name: string): void {
    const resource = held.get(name)
    if (resource === undefined) return
    this.#live -= resource.bytes.length
    held.delete(name)
  }

  /** A block stays as long as one resource of it: what is left of many old ones moves together. */
  #compact(): void {
    for (const held of this.#types.values())
      for (const resource of moveToShared([...held.values()])) held.set(resource.name, resource)
    this.#allocated = this.#live
  }
}

/** One block for all, since a block costs more than most resources. */
function moveToShared(resources: readonly Resource[]): readonly Resource[] {
  const block = new SharedArrayBuffer(resources.reduce((sum, { bytes }) => sum + bytes.length, 0))
  let from = 0
  return resources.map(({ name, version, bytes }) => {
    const copy = new Uint8Array(block, from, bytes.length)
    copy.set(bytes)
    from += bytes.length
    return { name, version, bytes: copy }
  })
}
