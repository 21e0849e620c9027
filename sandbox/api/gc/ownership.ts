import type { KubeObject } from '../rest/object.ts'

/** Where an object is stored. */
export type Place = Readonly<{ resource: string; namespace: string; name: string }>

/** Who exists and who names whom as owner, by uid. */
export class Ownership {
  readonly #places = new Map<string, Place>()
  readonly #owners = new Map<string, readonly string[]>()
  readonly #dependents = new Map<string, Set<string>>()

  place(uid: string): Place | undefined {
    return this.#places.get(uid)
  }

  dependents(uid: string): readonly string[] {
    return [...(this.#dependents.get(uid) ?? [])]
  }

  /** Notes an object; the result are the owners that it has left. */
  put(place: Place, { metadata }: KubeObject): readonly string[] {
    const { uid = '', ownerReferences = [] } = metadata
    const owners = ownerReferences.map((owner) => owner.uid)
    const left = (this.#owners.get(uid) ?? []).filter((owner) => !owners.includes(owner))
    this.#places.set(uid, place)
    for (const owner of left) this.#unlink(owner, uid)
    for (const owner of owners) this.#link(owner, uid)
    if (owners.length > 0) this.#owners.set(uid, owners)
    else this.#owners.delete(uid)
    return left
  }

  /** Forgets an object; the result are its owners and its dependents. */
  remove(uid: string): readonly string[] {
    const owners = this.#owners.get(uid) ?? []
    for (const owner of owners) this.#unlink(owner, uid)
    this.#places.delete(uid)
    this.#owners.delete(uid)
    return [...owners, ...this.dependents(uid)]
  }

  #link(owner: string, dependent: string): void {
    const set = this.#dependents.get(owner) ?? new Set()
    set.add(dependent)
    this.#dependents.set(owner, set)
  }

  #unlink(owner: string, dependent: string): void {
    const set = this.#dependents.get(owner)
    set?.delete(dependent)
    if (set?.size === 0) this.#dependents.delete(owner)
  }
}
