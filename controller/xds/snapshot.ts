/** A resource ready for the wire. */
export type Resource = Readonly<{
  name: string
  version: string
  aliases: readonly string[]
  /** Everything by which a client may ask for it, its name included. */
  keys: readonly string[]
  any: Readonly<{ typeUrl: string; value: Buffer }>
}>

/** What clients are told from: all resources of one type as last published. */
export type View = Readonly<{
  get(name: string): Resource | undefined
  names(): Iterable<string>
  /** Names of the resources that answer to `key`. */
  answering(key: string): readonly string[]
}>

/** Holds what was published, apart from what is: changes come in together, and only if they are any. */
export class Snapshot implements View {
  readonly #resources = new Map<string, Resource>()
  readonly #byKey = new Map<string, Set<string>>()

  get(name: string): Resource | undefined {
    return this.#resources.get(name)
  }

  names(): Iterable<string> {
    return this.#resources.keys()
  }

  answering(key: string): readonly string[] {
    return [...(this.#byKey.get(key) ?? [])].sort()
  }

  get size(): number {
    return this.#resources.size
  }

  /** Takes over how things are for `names`; tells which of them really changed. */
  publish(names: Iterable<string>, current: (name: string) => Resource | undefined): readonly string[] {
    const changed: string[] = []
    for (const name of names) {
      const before = this.#resources.get(name)
      const after = current(name)
      if (before?.version === after?.version) continue
      changed.push(name)
      for (const key of before?.keys ?? []) this.#unlink(key, name)
      if (!after) {
        this.#resources.delete(name)
        continue
      }
      this.#resources.set(name, after)
      for (const key of after.keys) this.#link(key, name)
    }
    return changed
  }

  #link(key: string, name: string): void {
    const names = this.#byKey.get(key)
    if (names) names.add(name)
    else this.#byKey.set(key, new Set([name]))
  }

  #unlink(key: string, name: string): void {
    const names = this.#byKey.get(key)
    if (names?.delete(name) && names.size === 0) this.#byKey.delete(key)
  }
}
