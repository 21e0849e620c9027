import { Counter, Histogram, type MetricName, type Registry } from '#telemetry'
import { commonLabels, type LabelFacts, labelKey, labelsOf, overflowLabels } from './labels.ts'
import { messageMetrics, type WatchMessages } from './message-metrics.ts'
import { RowCounter } from './row-metrics.ts'
import { type Outcome, Rows, sum } from './rows.ts'
import type { Variants } from './variants.ts'

/** Envoy's default buckets, for milliseconds and bytes alike (facts: l7.md §4.1). */
const bounds = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000,
  3600000,
] as const

/** How a request ended. */
export type RequestFacts = LabelFacts &
  Readonly<{
    /** 0: it got no answer. */
    status: number
    flags: string
    /** '' where the call was none of gRPC. */
    grpcStatus: string
    durationMs: number
    /** With the headers. */
    requestBytes: number
    responseBytes: number
  }>

/** What an upstream says is a label only where it is one of a few: it would choose how many series there are. */
const statusLabel = (status: number) => (status < 600 ? `${status}` : 'unknown')
const grpcStatuses = new Set(['', ...Array.from({ length: 17 }, (_, i) => `${i}`)])
const grpcLabel = (status: string) => (grpcStatuses.has(status) ? status : 'unknown')

/** Counts requests. */
export type RequestMetrics = Readonly<{
  record(facts: RequestFacts, variants?: Variants): void
  /** A gRPC call that has an endpoint: its messages are counted while it goes on. To be disposed when it is over. */
  watchMessages: WatchMessages
  /** A copy that was asked for and not made. */
  mirrorSkipped(): void
}>

type Spread = { readonly counts: number[]; sum: number; count: number }
type Row = { requests: number; duration: Spread; requestBytes: Spread; responseBytes: Spread }

/** Of series that are one by now. */
const both = (a: Spread, b: Spread): Spread => ({
  counts: a.counts.map((n, i) => n + (b.counts[i] ?? 0)),
  sum: a.sum + b.sum,
  count: a.count + b.count,
})

const newSpread = (): Spread => ({ counts: bounds.map(() => 0), sum: 0, count: 0 })

/** The first bucket that holds the value; the others that do are added up when somebody reads. */
function observe(spread: Spread, value: number): void {
  spread.sum += value
  spread.count++
  for (let at = 0; at < bounds.length; at++) {
    if (value <= (bounds[at] ?? 0)) {
      spread.counts[at] = (spread.counts[at] ?? 0) + 1
      return
    }
  }
}

const labelNames = [...commonLabels, 'response_code', 'grpc_response_status'] as const

type HistogramOptions = Readonly<{
  metric: MetricName
  name: string
  help: string
  rows: Rows<Row>
  of: (row: Row) => Spread
}>

/** A histogram whose values are made when it is read. */
class RowHistogram extends Histogram {
  readonly #metric: MetricName
  readonly #name: string
  readonly #rows: Rows<Row>
  readonly #of: (row: Row) => Spread
  /** Says what does not change. */
  readonly #empty: Histogram

  constructor(registry: Registry, { metric, name, help, rows, of }: HistogramOptions) {
    super({ name, help, labelNames: [...labelNames], buckets: [...bounds], registers: [registry] })
    this.#metric = metric
    this.#name = name
    this.#rows = rows
    this.#of = of
    this.#empty = new Histogram({ name, help, registers: [] })
  }

  /** prom-client asks for this in place of `get` where it writes text. */
  getForPromString() {
    return this.get()
  }

  override async get() {
    const values = this.#rows.told(this.#metric, this.#of, both).flatMap(({ labels, value }) => {
      const { counts, sum, count } = value
      let below = 0
      const sample = (suffix: string, number: number, more = {}) => ({
        metricName: `${this.#name}_${suffix}`,
        labels: { ...labels, ...more },
        value: number,
      })
      return [
        ...bounds.map((le, i) => sample('bucket', (below += counts[i] ?? 0), { le })),
        sample('bucket', count, { le: '+Inf' }),
        sample('sum', sum),
        sample('count', count),
      ]
    })
    return { ...(await this.#empty.get()), values }
  }
}

/** Most requests have nothing to tell but their status. */
function outcomeOf({ status, flags, grpcStatus }: RequestFacts): Outcome {
  const told = status < 600 ? status : 600
  return flags === '-' && grpcStatus === '' ? told : `${told}|${flags}|${grpcLabel(grpcStatus)}`
}

type Place = Readonly<{ key: string; outcome: Outcome; variants: Variants | undefined }>

/** The row of requests that are not the usual ones, or the first of their kind. */
function newRow(rows: Rows<Row>, facts: RequestFacts, place: Place): Row {
  const labels = {
    response_code: statusLabel(facts.status),
    response_flags: facts.flags,
    grpc_response_status: grpcLabel(facts.grpcStatus),
  }
  return rows.row({
    ...place,
    labels: () => ({ ...labelsOf(facts), ...labels }),
    overflow: () => ({ ...overflowLabels(facts.protocol), ...labels }),
  })
}

/** The request series of Istio's proxies, with reporter="waypoint" (facts: l7.md §4.1, §4.2). */
export function requestMetrics(registry: Registry): RequestMetrics {
  const rows = new Rows<Row>(() => ({
    requests: 0,
    duration: newSpread(),
    requestBytes: newSpread(),
    responseBytes: newSpread(),
  }))
  new RowCounter(
    registry,
    'istio_requests_total',
    'Requests by source, destination and outcome',
    labelNames,
    () => rows.told('REQUEST_COUNT', ({ requests }) => requests, sum),
  )
  const histogram = (metric: MetricName, name: string, help: string, of: (row: Row) => Spread) =>
    new RowHistogram(registry, { metric, name, help, rows, of })
  histogram(
    'REQUEST_DURATION',
    'istio_request_duration_milliseconds',
    'Duration of requests',
    (row) => row.duration,
  )
  histogram('REQUEST_SIZE', 'istio_request_bytes', 'Size of requests', (row) => row.requestBytes)
  histogram('RESPONSE_SIZE', 'istio_response_bytes', 'Size of responses', (row) => row.responseBytes)
  const watchMessages = messageMetrics(registry)
  const skipped = new Counter({
    name: 'lateen_mirrors_skipped_total',
    help: 'Requests that were to be copied and had more body than is kept (unstable)',
    registers: [registry],
  })
  return {
    record: (facts, variants) => {
      const key = labelKey(facts)
      const outcome = outcomeOf(facts)
      const row =
        (variants ? undefined : rows.known(key, outcome)) ?? newRow(rows, facts, { key, outcome, variants })
      row.requests++
      observe(row.duration, facts.durationMs)
      observe(row.requestBytes, facts.requestBytes)
      observe(row.responseBytes, facts.responseBytes)
    },
    watchMessages,
    mirrorSkipped: () => skipped.inc(),
  }
}
