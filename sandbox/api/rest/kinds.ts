import { builtinKinds, type KindType } from '../types/index.ts'

/** The name under which a kind's objects are stored, whatever version they are asked in: `pods`, `deployments.apps`. */
export const resourceOf = ({ group, plural }: Readonly<{ group: string; plural: string }>): string =>
  group === '' ? plural : `${plural}.${group}`

/** All kinds that are served now: the built-in ones and those of CRDs. */
export class Kinds {
  readonly #builtin: readonly KindType[]
  readonly #custom = new Map<string, readonly KindType[]>()
  #all: readonly KindType[]
  #byPath = new Map<string, KindType>()
  /** Counts the changes, for whoever keeps documents made of all kinds. */
  revision = 0

  constructor(builtin: readonly KindType[] = builtinKinds()) {
    this.#builtin = builtin
    this.#all = builtin
    this.#rebuild()
  }

  /** Groups in the order of their first kind, newest version first as given. */
  all(): readonly KindType[] {
    return this.#all
  }

  find(group: string, version: string, plural: string): KindType | undefined {
    return this.#byPath.get(`${group}/${version}/${plural}`)
  }

  byKind(group: string, version: string, kind: string): KindType | undefined {
    return this.#all.find((k) => k.group === group && k.version === version && k.kind === kind)
  }

  /** Any version of the resource, preferably the one it is stored in. */
  ofResource(resource: string): KindType | undefined {
    const versions = this.#all.filter((kind) => resourceOf(kind) === resource)
    return versions.find((kind) => kind.storage) ?? versions[0]
  }

  /** Kinds whose objects are kept, one version of each. */
  stored(): readonly KindType[] {
    const seen = new Map<string, KindType>()
    for (const kind of this.#all)
      if (!kind.virtual && (kind.storage || !seen.has(resourceOf(kind)))) seen.set(resourceOf(kind), kind)
    return [...seen.values()]
  }

  setCustom(crd: string, kinds: readonly KindType[]): void {
    this.#custom.set(crd, kinds)
    this.#rebuild()
  }

  removeCustom(crd: string): void {
    if (this.#custom.delete(crd)) this.#rebuild()
  }

  #rebuild(): void {
    this.#all = [...this.#builtin, ...[...this.#custom.values()].flat()]
    this.#byPath = new Map(this.#all.map((kind) => [`${kind.group}/${kind.version}/${kind.plural}`, kind]))
    this.revision++
  }
}
