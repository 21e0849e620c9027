import type { Socket } from 'node:net'
import { type LabelFacts, labelKey, type Labels, labelsOf, overflowLabels } from './labels.ts'

/** Sets of labels kept: pairs of workloads that talk, times services. About 2 KiB each. */
const maxRows = 4096
/** Looked at for one to give up when there are too many. */
const maxLooks = 64

/** What is counted under one set of labels. */
export type Row = {
  readonly labels: Labels
  opened: number
  /** By response flag. */
  readonly closed: Map<string, number>
  /** Response and request bytes, for both reporters as the service sees them. */
  sent: number
  received: number
  /** Connections that still count here. */
  open: number
}

/** One connection while it counts. */
export type Counted = Readonly<{
  /** Its application's socket, by which its bytes are seen while they move; `already` were written before them. */
  watch(app: Socket, already?: number): void
  closed(end: Readonly<{ flag: string; sent: number; received: number }>): void
}>

/** One connection; while it is watched its bytes are read off its socket. One object, for there are many. */
class CountedConnection implements Counted {
  readonly #row: Row
  readonly #isSource: boolean
  readonly #watched: Set<CountedConnection>
  #app: Socket | undefined
  #already = 0
  /** Counted so far. */
  #sent = 0
  #received = 0

  constructor(row: Row, isSource: boolean, watched: Set<CountedConnection>) {
    this.#row = row
    this.#isSource = isSource
    this.#watched = watched
    row.opened++
    row.open++
  }

  watch(app: Socket, already = 0): void {
    this.#app = app
    this.#already = already
    this.#watched.add(this)
  }

  /** Adds what has moved since the last time. */
  sample(): void {
    const app = this.#app
    if (!app) return
    // What waits in our own buffers has not been sent.
    const toApp = Math.max(0, app.bytesWritten - app.writableLength - this.#already)
    if (this.#isSource) this.#add(toApp, app.bytesRead)
    else this.#add(app.bytesRead, toApp)
  }

  closed({ flag, sent, received }: Readonly<{ flag: string; sent: number; received: number }>): void {
    this.#watched.delete(this)
    this.#row.open--
    this.#row.closed.set(flag, (this.#row.closed.get(flag) ?? 0) + 1)
    this.#add(sent, received)
  }

  #add(sent: number, received: number): void {
    this.#row.sent += Math.max(0, sent - this.#sent)
    this.#row.received += Math.max(0, received - this.#received)
    this.#sent = Math.max(sent, this.#sent)
    this.#received = Math.max(received, this.#received)
  }
}

/**
 * Traffic by sets of labels. Counting is adding to numbers; labels are rendered when somebody reads, which is also when
 * the bytes of connections that are still open are added: a scrape sees what has moved until then.
 */
export class Traffic {
  readonly #rows = new Map<string, Row>()
  readonly #watched = new Set<CountedConnection>()

  open(facts: LabelFacts): Counted {
    return new CountedConnection(this.#rowOf(facts), facts.reporter === 'source', this.#watched)
  }

  rows(): Iterable<Row> {
    return this.#rows.values()
  }

  get watched(): Iterable<Readonly<{ sample(): void }>> {
    return this.#watched
  }

  #rowOf(facts: LabelFacts): Row {
    const key = labelKey(facts)
    const known = this.#rows.get(key)
    if (known) return known
    if (this.#rows.size >= maxRows && !this.#dropUnused()) return this.#overflow(facts.reporter)
    return this.#add(key, labelsOf(facts))
  }

  #add(key: string, labels: Labels): Row {
    const row: Row = { labels, opened: 0, closed: new Map(), sent: 0, received: 0, open: 0 }
    this.#rows.set(key, row)
    return row
  }

  #overflow(reporter: LabelFacts['reporter']): Row {
    const key = `overflow|${reporter}`
    return this.#rows.get(key) ?? this.#add(key, overflowLabels(reporter))
  }

  /** The oldest that nobody uses: its series ends, as it does when a process restarts. */
  #dropUnused(): boolean {
    let looks = 0
    for (const [key, row] of this.#rows) {
      if (row.open === 0 && !key.startsWith('overflow')) return this.#rows.delete(key)
      if (++looks >= maxLooks) return false
    }
    return false
  }
}
