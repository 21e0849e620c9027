import { ads } from '#wire'

/** A resource as it comes from the collections. */
export type Resource = Readonly<{
  name: string
  version: string
  aliases: readonly string[]
  /** Everything by which a client may ask for it, its name included. */
  keys: readonly string[]
  any: Readonly<{ typeUrl: string; value: Buffer }>
}>

/** A resource as all clients are sent it. `wire` is encoded once, its place in a response included. */
export type Published = Readonly<{
  name: string
  version: string
  keys: readonly string[]
  wire: Uint8Array
}>

/** What clients are told from: all resources of one type as last published. */
export type View = Readonly<{
  get(name: string): Published | undefined
  names(): Iterable<string>
  /** Names of the resources that answer to `key`. */
  answering(key: string): readonly string[]
  /** On the wire, all resources together. */
  readonly bytes: number
  /** All of them, in the order of their names. */
  whole(): Whole
}>

/** What a client is sent that has nothing yet: made once for all that come before the next publication. */
type Whole = Readonly<{ resources: readonly Published[]; joined: Uint8Array }>

/** Holds what was published, apart from what is: changes come in together, and only if they are any. */
export class Snapshot implements View {
  readonly #resources = new Map<string, Published>()
  readonly #byKey = new Map<string, Set<string>>()
  #bytes = 0
  /** Weak: after a start nobody needs it, and it is as large as the mesh. */
  #whole: WeakRef<Whole> | undefined

  get(name: string): Published | undefined {
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

  get bytes(): number {
    return this.#bytes
  }

  whole(): Whole {
    const known = this.#whole?.deref()
    if (known) return known
    const resources = [...this.#resources.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    const whole = { resources, joined: Buffer.concat(resources.map(({ wire }) => wire)) }
    this.#whole = new WeakRef(whole)
    return whole
  }

  /** Takes over how things are for `names`; tells which of them really changed. */
  publish(names: Iterable<string>, current: (name: string) => Resource | undefined): readonly string[] {
    const changed: string[] = []
    for (const name of names) {
      const before = this.#resources.get(name)
      const after = current(name)
      if (before?.version === after?.version) continue
      changed.push(name)
      this.#whole = undefined
      for (const key of before?.keys ?? []) this.#unlink(key, name)
      this.#bytes -= before?.wire.length ?? 0
      if (!after) {
        this.#resources.delete(name)
        continue
      }
      const wire = encode(after)
      this.#bytes += wire.length
      this.#resources.set(name, { name, version: after.version, keys: after.keys, wire })
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

/** Encoded messages of one type may be joined: a response of one resource is a part of every response that has it. */
const encode = ({ name, version, aliases, any }: Resource): Uint8Array =>
  ads.DeltaDiscoveryResponse.encode({
    systemVersionInfo: '',
    typeUrl: '',
    nonce: '',
    resources: [{ name, version, aliases: [...aliases], resource: any, ttl: undefined }],
    removedResources: [],
  }).finish()
