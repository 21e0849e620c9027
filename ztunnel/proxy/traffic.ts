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

/** A connection whose bytes are read off its socket. */
type Watched = {
  app: Socket
  already: number
  reporter: LabelFacts['reporter']
  row: Row
  sent: number
  received: number
}

/**
 * Traffic by sets of labels. Counting is adding to numbers; labels are rendered when somebody reads, which is also when
 * the bytes of connections that are still open are added: a scrape sees what has moved until then.
 */
export class Traffic {
  readonly #rows = new Map<string, Row>()
  readonly #watched = new Set<Watched>()

  open(facts: LabelFacts): Counted {
    const row = this.#rowOf(facts)
    row.opened++
    row.open++
    let watched: Watched | undefined
    return {
      watch: (app, already = 0) => {
        watched = { app, already, reporter: facts.reporter, row, sent: 0, received: 0 }
        this.#watched.add(watched)
      },
      closed: ({ flag, sent, received }) => {
        if (watched) this.#watched.delete(watched)
        row.open--
        row.closed.set(flag, (row.closed.get(flag) ?? 0) + 1)
        row.sent += Math.max(0, sent - (watched?.sent ?? 0))
        row.received += Math.max(0, received - (watched?.received ?? 0))
      },
    }
  }

  rows(): Iterable<Row> {
    return this.#rows.values()
  }

  get watched(): Iterable<Watched> {
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

/** Adds what has moved since the last time to the row. */
export function sample(watched: Watched): void {
  const { app, already, reporter, row } = watched
  const fromApp = app.bytesRead
  // What waits in our own buffers has not been sent.
  const toApp = Math.max(0, app.bytesWritten - app.writableLength - already)
  const [sent, received] = reporter === 'source' ? [toApp, fromApp] : [fromApp, toApp]
  row.sent += Math.max(0, sent - watched.sent)
  row.received += Math.max(0, received - watched.received)
  watched.sent = Math.max(sent, watched.sent)
  watched.received = Math.max(received, watched.received)
}
