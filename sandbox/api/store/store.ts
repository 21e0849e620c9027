import { asObject, type KubeObject, withMetadata } from '../rest/object.ts'
import type { Database } from './database.ts'
import { EventLog, type StoreEvent } from './event-log.ts'

/** Changes remembered for each resource: an informer that is away for an hour still resumes. */
const eventsPerResource = 10_000

type Listener = (event: StoreEvent) => void
type Table = { readonly objects: Map<string, KubeObject>; sorted: readonly KubeObject[] | undefined }

/** Objects by resource (`pods`, `deployments.apps`) under one global resource version: memory over a database. */
export class Store implements Disposable {
  readonly #database: Database
  readonly #capacity: number
  readonly #tables = new Map<string, Table>()
  readonly #logs = new Map<string, EventLog>()
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #everything = new Set<Listener>()
  readonly #pending: StoreEvent[] = []
  readonly #firstVersion: number
  #version: number
  #delivering = false

  constructor(database: Database, capacity = eventsPerResource) {
    this.#database = database
    this.#capacity = capacity
    const { version, rows } = database.load()
    this.#version = version
    this.#firstVersion = version
    for (const { resource, namespace, name, json } of rows)
      this.#table(resource).objects.set(keyOf(namespace, name), deepFreeze(asObject(JSON.parse(json))))
  }

  /** The version of the last change. */
  get version(): number {
    return this.#version
  }

  resources(): readonly string[] {
    return [...this.#tables.keys()]
  }

  get(resource: string, namespace: string, name: string): KubeObject | undefined {
    return this.#tables.get(resource)?.objects.get(keyOf(namespace, name))
  }

  /** Sorted by namespace, then name; of all namespaces when none is given. */
  list(resource: string, namespace?: string): readonly KubeObject[] {
    const table = this.#tables.get(resource)
    if (table === undefined) return []
    table.sorted ??= [...table.objects]
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([, object]) => object)
    if (namespace === undefined) return table.sorted
    return table.sorted.filter((object) => object.metadata.namespace === namespace)
  }

  /** Creates or replaces; the result is the stored object with its new resource version. */
  save(resource: string, object: KubeObject): KubeObject {
    const { namespace = '', name = '' } = object.metadata
    const version = this.#version + 1
    const stored = deepFreeze(withMetadata(object, { resourceVersion: String(version) }))
    this.#database.put({ resource, namespace, name, json: jsonOf(stored) }, version)
    const table = this.#table(resource)
    const previous = table.objects.get(keyOf(namespace, name))
    table.objects.set(keyOf(namespace, name), stored)
    table.sorted = undefined
    this.#commit({
      version,
      type: previous === undefined ? 'ADDED' : 'MODIFIED',
      resource,
      object: stored,
      previous,
    })
    return stored
  }

  /** Removes for good; the result is the last state with the version of the removal. */
  remove(resource: string, object: KubeObject): KubeObject {
    const { namespace = '', name = '' } = object.metadata
    const version = this.#version + 1
    const last = deepFreeze(withMetadata(object, { resourceVersion: String(version) }))
    this.#database.remove({ resource, namespace, name }, version)
    const table = this.#table(resource)
    const previous = table.objects.get(keyOf(namespace, name))
    table.objects.delete(keyOf(namespace, name))
    table.sorted = undefined
    this.#commit({ version, type: 'DELETED', resource, object: last, previous })
    return last
  }

  /** Changes of a resource after `version`, or 'expired' when they are no longer known. */
  since(resource: string, version: number): readonly StoreEvent[] | 'expired' {
    return this.#log(resource).since(version)
  }

  /** Calls `listener` for every change from now on: of one resource, or of all. In order, never nested. */
  subscribe(listener: Listener, resource?: string): Disposable {
    const set = resource === undefined ? this.#everything : this.#listenersOf(resource)
    set.add(listener)
    return { [Symbol.dispose]: () => void set.delete(listener) }
  }

  [Symbol.dispose](): void {
    this.#database[Symbol.dispose]()
  }

  #commit(event: StoreEvent): void {
    this.#version = event.version
    // Of both there is a text already: it was made to be stored.
    const stored = event.type === 'DELETED' ? event.previous : event.object
    this.#log(event.resource).append(event, jsonOf(stored ?? event.object).length)
    this.#pending.push(event)
    if (this.#delivering) return
    this.#delivering = true
    try {
      for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift()) {
        this.#tell(next, this.#everything)
        this.#tell(next, this.#listenersOf(next.resource))
      }
    } finally {
      this.#delivering = false
    }
  }

  #tell(event: StoreEvent, listeners: ReadonlySet<Listener>): void {
    // Whoever comes or goes meanwhile does not disturb the round.
    const round = Array.from(listeners)
    for (const listener of round) listener(event)
  }

  #table(resource: string): Table {
    let table = this.#tables.get(resource)
    if (table === undefined) {
      table = { objects: new Map(), sorted: undefined }
      this.#tables.set(resource, table)
    }
    return table
  }

  #log(resource: string): EventLog {
    let log = this.#logs.get(resource)
    if (log === undefined) {
      log = new EventLog(this.#capacity, this.#firstVersion)
      this.#logs.set(resource, log)
    }
    return log
  }

  #listenersOf(resource: string): Set<Listener> {
    let set = this.#listeners.get(resource)
    if (set === undefined) {
      set = new Set()
      this.#listeners.set(resource, set)
    }
    return set
  }
}

const keyOf = (namespace: string, name: string): string => `${namespace}/${name}`

/** Ordering key of an object within its resource, also used by continue tokens. */
export const sortKeyOf = ({ metadata }: KubeObject): string =>
  keyOf(metadata.namespace ?? '', metadata.name ?? '')

const texts = new WeakMap<object, string>()

/** The JSON of an object, made once however many watchers and lists want it. Only for frozen objects. */
export function jsonOf(object: KubeObject): string {
  let text = texts.get(object)
  if (text === undefined) {
    text = JSON.stringify(object)
    texts.set(object, text)
  }
  return text
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
