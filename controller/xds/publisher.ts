import type { Collection } from '#kube'
import type { Logger } from '#telemetry'
import { debounce } from './debounce.ts'
import { shortName, type XdsMetrics } from './metrics.ts'
import { type Resource, Snapshot } from './snapshot.ts'

export type PublisherOptions = Readonly<{
  /** By type URL. Synced before clients are let in. */
  types: Readonly<Record<string, Collection<Resource>>>
  /** Types whose resources others name: they come before what names them, and go after it. */
  referredTo: readonly string[]
  debounceMs: number
  debounceMaxMs: number
  log: Logger
  metrics: XdsMetrics
}>

/** Lets changes gather, then publishes what really changed and tells of it. */
export class Publisher implements Disposable {
  readonly views: ReadonlyMap<string, Snapshot>
  readonly #options: PublisherOptions
  readonly #tell: (typeUrl: string, names: readonly string[]) => void
  readonly #pending = new Map<string, Set<string>>()
  readonly #poke: ReturnType<typeof debounce>
  readonly #feeds: readonly Disposable[]

  constructor(options: PublisherOptions, tell: (typeUrl: string, names: readonly string[]) => void) {
    this.#options = options
    this.#tell = tell
    this.views = new Map(Object.keys(options.types).map((url) => [url, new Snapshot()]))
    this.#poke = debounce((waitedMs) => this.#publish(waitedMs), options.debounceMs, options.debounceMaxMs)
    this.#feeds = Object.entries(options.types).map(([url, collection]) =>
      collection.subscribe((changes) => {
        const names = this.#pending.get(url) ?? new Set()
        for (const { key } of changes) names.add(key)
        this.#pending.set(url, names)
        this.#poke()
      }),
    )
    this.#publish(0) // what is there already is what the first client sees
  }

  [Symbol.dispose](): void {
    this.#poke[Symbol.dispose]()
    for (const feed of this.#feeds) feed[Symbol.dispose]()
  }

  #publish(waitedMs: number): void {
    const { types, metrics } = this.#options
    metrics.debounce.observe(waitedMs / 1000)
    const startedMs = performance.now()
    const { referredTo } = this.#options
    const urls = [...this.#pending.keys()]
    const referred = urls.filter((url) => referredTo.includes(url))
    const others = urls.filter((url) => !referredTo.includes(url))
    const names = (url: string) => [...(this.#pending.get(url) ?? [])]
    const isThere = (url: string) => (name: string) => types[url]?.get(name) !== undefined
    for (const url of referred) this.#take(url, names(url).filter(isThere(url)))
    for (const url of others) this.#take(url, names(url))
    for (const url of referred) this.#take(url, names(url)) // what is left is gone
    this.#pending.clear()
    metrics.publishing.observe((performance.now() - startedMs) / 1000)
  }

  #take(url: string, names: readonly string[]): void {
    const { types, log, metrics } = this.#options
    const changed = this.views.get(url)?.publish(names, (name) => types[url]?.get(name)) ?? []
    if (changed.length === 0) return
    metrics.triggers.inc({ type: shortName(url) })
    log.debug('published', { type: shortName(url), changed: changed.length })
    this.#tell(url, changed)
  }
}
