import type { ServerResponse } from 'node:http'
import { keyOf, type Kind, kinds, pathOf } from '#kube'
import type { Stored } from './mesh.ts'

/** Only as text: a hundred thousand pods as objects would be three times as much. */
export type Row = Readonly<{ namespace: string | undefined; name: string | undefined; json: string }>
type Event = Readonly<{ version: number; line: string }>
type Shelf = {
  readonly rows: Map<string, Row>
  /** In the order of their making, for lists of many pages; absent after a change. */
  listed: readonly Row[] | undefined
  readonly events: Event[]
  forgotten: number
  readonly watches: Set<ServerResponse>
}

/** Changes per kind that a watch can resume over. */
const maxEvents = 20_000
const collectionOf = ({ apiVersion, kind }: Stored): string => {
  const known = Object.values<Kind>(kinds).find((k) => k.kind === kind && k.apiVersion === apiVersion)
  if (!known) throw new RangeError(`no such kind: ${apiVersion} ${kind}`)
  return pathOf(known)
}

/** Objects by the path of their kind, as JSON that is made once; each change is told to the watches of its kind. */
export class Store {
  readonly #shelves = new Map<string, Shelf>()
  #version = 1_000

  get version(): string {
    return String(this.#version)
  }

  put(object: Stored, collection = collectionOf(object)): Stored {
    const shelf = this.#shelf(collection)
    const key = keyOf(object)
    const before = shelf.rows.get(key)
    const metadata = {
      uid: `uid-${this.#version}`,
      ...object.metadata,
      resourceVersion: String(++this.#version),
    }
    const stored = { ...object, metadata }
    const json = JSON.stringify(stored)
    const { namespace, name } = object.metadata
    shelf.rows.set(key, { namespace, name, json })
    this.#tell(shelf, before ? 'MODIFIED' : 'ADDED', json)
    return stored
  }

  remove(collection: string, key: string): boolean {
    const shelf = this.#shelf(collection)
    const before = shelf.rows.get(key)
    if (!before) return false
    shelf.rows.delete(key)
    const object = parsed(before.json)
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) }
    this.#tell(shelf, 'DELETED', JSON.stringify({ ...object, metadata }))
    return true
  }

  get(collection: string, key: string): Stored | undefined {
    const row = this.#shelf(collection).rows.get(key)
    return row && parsed(row.json)
  }

  /** The JSON of a list. */
  page(collection: string, accept: (row: Row) => boolean, from: number, limit: number): string {
    const shelf = this.#shelf(collection)
    shelf.listed ??= [...shelf.rows.values()]
    const all = shelf.listed.filter(accept)
    const next = from + limit < all.length ? `,"continue":"${from + limit}"` : ''
    const items = all.slice(from, from + limit).map(({ json }) => json)
    return `{"kind":"List","metadata":{"resourceVersion":"${this.version}"${next}},"items":[${items.join(',')}]}`
  }

  /** Sends what came after `from`, then whatever comes. False: that is too long ago. */
  watch(collection: string, from: number, response: ServerResponse): boolean {
    const shelf = this.#shelf(collection)
    if (from < shelf.forgotten) return false
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
    for (const { version, line } of shelf.events) if (version > from) response.write(line)
    shelf.watches.add(response)
    response.on('close', () => shelf.watches.delete(response))
    return true
  }

  bookmark(): void {
    const line = `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"${this.version}"}}}\n`
    for (const { watches } of this.#shelves.values()) for (const watch of watches) watch.write(line)
  }

  #tell(shelf: Shelf, type: string, json: string): void {
    shelf.listed = undefined
    const line = `{"type":"${type}","object":${json}}\n`
    shelf.events.push({ version: this.#version, line })
    if (shelf.events.length > 2 * maxEvents) {
      shelf.forgotten = shelf.events[maxEvents]?.version ?? shelf.forgotten
      shelf.events.splice(0, maxEvents)
    }
    for (const watch of shelf.watches) watch.write(line)
  }

  /** What was put so far is history that nobody can resume from; it costs no memory. */
  forget(): void {
    for (const shelf of this.#shelves.values()) {
      shelf.events.length = 0
      shelf.forgotten = this.#version
    }
  }

  #shelf(collection: string): Shelf {
    const found = this.#shelves.get(collection)
    if (found) return found
    const shelf: Shelf = {
      rows: new Map(),
      listed: undefined,
      events: [],
      forgotten: 0,
      watches: new Set(),
    }
    this.#shelves.set(collection, shelf)
    return shelf
  }
}

/** What was put is what is parsed. */
const parsed = (json: string): Stored => JSON.parse(json) as Stored
