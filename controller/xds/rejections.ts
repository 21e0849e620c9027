import { type Collection, fixed, Table } from '#kube'
import type { View } from './snapshot.ts'

/** A resource that clients do not take, in the words of the last of them. */
export type Rejection = Readonly<{ version: string; message: string; clients: number }>

type Held = Readonly<{ version: string; message: string; clients: ReadonlySet<object> }>

/** Of one rejection. A condition holds more, and a reader wants far less. */
const maxMessage = 256
/** Resources that one client can have rejected at a time; more than a few means that it understands none. */
const maxPerClient = 100

/**
 * Which resources are rejected as they are now. One that changes is another, of which nobody has said anything; so is one
 * whose rejecting clients are gone.
 */
export class Rejections {
  readonly #views: ReadonlyMap<string, View>
  readonly #tables: ReadonlyMap<string, Table<Rejection>>
  readonly #held = new Map<string, Map<string, Held>>()
  readonly #perClient = new Map<object, number>()

  constructor(views: ReadonlyMap<string, View>) {
    this.#views = views
    this.#tables = new Map([...views.keys()].map((url) => [url, new Table<Rejection>('Rejections')]))
    for (const table of this.#tables.values()) table.markSynced()
  }

  /** By the name of the resource; of a type that is not served there are none. */
  of(typeUrl: string): Collection<Rejection> {
    return this.#tables.get(typeUrl)?.collection ?? fixed('Rejections', {})
  }

  /** A client's NACK, which names resources of ours and says why: `name: reason; name: reason`. */
  note(client: object, typeUrl: string, error: string): void {
    const view = this.#views.get(typeUrl)
    if (!view) return
    for (const { name, reason } of blamedIn(error, view)) {
      const of = this.#perClient.get(client) ?? 0
      if (of >= maxPerClient) return
      const version = view.get(name)?.version ?? ''
      const before = this.#of(typeUrl).get(name)
      const others = before?.version === version ? before.clients : new Set<object>()
      if (!others.has(client)) this.#perClient.set(client, of + 1)
      this.#hold(typeUrl, name, { version, message: reason, clients: new Set([...others, client]) })
    }
  }

  /** These have changed or are gone. */
  published(typeUrl: string, names: readonly string[]): void {
    const held = this.#held.get(typeUrl)
    if (!held || held.size === 0) return
    for (const name of names) if (held.has(name)) this.#hold(typeUrl, name, undefined)
  }

  /** A client that is gone holds nothing against anything. */
  left(client: object): void {
    if (!this.#perClient.delete(client)) return
    for (const [typeUrl, held] of this.#held)
      for (const [name, { clients, ...rest }] of held) {
        if (!clients.has(client)) continue
        const others = new Set([...clients].filter((each) => each !== client))
        this.#hold(typeUrl, name, others.size === 0 ? undefined : { ...rest, clients: others })
      }
  }

  #of(typeUrl: string): Map<string, Held> {
    const held = this.#held.get(typeUrl) ?? new Map<string, Held>()
    this.#held.set(typeUrl, held)
    return held
  }

  #hold(typeUrl: string, name: string, next: Held | undefined): void {
    const held = this.#of(typeUrl)
    for (const client of held.get(name)?.clients ?? []) if (!next?.clients.has(client)) this.#oneLess(client)
    if (next) held.set(name, next)
    else held.delete(name)
    const table = this.#tables.get(typeUrl)
    const row = next && { version: next.version, message: next.message, clients: next.clients.size }
    table?.apply([{ key: name, old: table.get(name), row }])
  }

  #oneLess(client: object): void {
    const left = this.#perClient.get(client)
    if (left !== undefined) this.#perClient.set(client, left - 1)
  }
}

/** Names of resources as they stand in a message, each with what follows it; ztunnel and our own client write them alike. */
function blamedIn(error: string, view: View): readonly Readonly<{ name: string; reason: string }>[] {
  return error.split(/; |\n/).flatMap((part) => {
    const words = part.split(/[\s,"'`]+/).map((word) => word.replace(/:$/, ''))
    const name = words.find((word) => view.get(word) !== undefined)
    return name === undefined ? [] : [{ name, reason: printable(part).slice(0, maxMessage) }]
  })
}

/** The words are a client's; they end up where people read them. */
const printable = (text: string): string => text.replace(/[^\P{C}]/gu, ' ').trim()
