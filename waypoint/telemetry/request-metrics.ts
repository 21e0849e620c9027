import { Counter, Histogram, type Registry } from '#telemetry'
import { commonLabels, type LabelFacts, labelKey, labelsOf, overflowLabels } from './labels.ts'
import { messageMetrics, type WatchMessages } from './message-metrics.ts'
import { RowCounter, type Value } from './row-metrics.ts'
import { Rows } from './rows.ts'

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
  record(facts: RequestFacts): void
  /** A gRPC call that has an endpoint: its messages are counted while it goes on. To be disposed when it is over. */
  watchMessages: WatchMessages
  /** A copy that was asked for and not made. */
  mirrorSkipped(): void
}>

type Spread = { readonly counts: number[]; sum: number; count: number }
type Row = { requests: number; duration: Spread; requestBytes: Spread; responseBytes: Spread }

const newSpread = (): Spread => ({ counts: bounds.map(() => 0), sum: 0, count: 0 })

/** The first bucket that holds the value; the others that do are added up when somebody reads. */
function observe(spread: Spread, value: number): void {
  spread.sum += value
  spread.count++
  const at = bounds.findIndex((bound) => value <= bound)
  if (at >= 0) spread.counts[at] = (spread.counts[at] ?? 0) + 1
}

const labelNames = [...commonLabels, 'response_code', 'grpc_response_status'] as const

/** A histogram whose values are made when it is read. */
class RowHistogram extends Histogram {
  readonly #name: string
  readonly #rows: Rows<Row>
  readonly #of: (row: Row) => Spread
  /** Says what does not change. */
  readonly #empty: Histogram

  constructor(registry: Registry, name: string, help: string, rows: Rows<Row>, of: (row: Row) => Spread) {
    super({ name, help, labelNames: [...labelNames], buckets: [...bounds], registers: [registry] })
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
    const values = [...this.#rows.entries()].flatMap(({ labels, value }) => {
      const { counts, sum, count } = this.#of(value)
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
    () => [...rows.entries()].map(({ labels, value }): Value => ({ labels, value: value.requests })),
  )
  const histogram = (name: string, help: string, of: (row: Row) => Spread) =>
    new RowHistogram(registry, name, help, rows, of)
  histogram('istio_request_duration_milliseconds', 'Duration of requests', (row) => row.duration)
  histogram('istio_request_bytes', 'Size of requests', (row) => row.requestBytes)
  histogram('istio_response_bytes', 'Size of responses', (row) => row.responseBytes)
  const watchMessages = messageMetrics(registry)
  const skipped = new Counter({
    name: 'lateen_mirrors_skipped_total',
    help: 'Requests that were to be copied and had more body than is kept (unstable)',
    registers: [registry],
  })
  return {
    record: (facts) => {
      const outcome = {
        response_code: statusLabel(facts.status),
        response_flags: facts.flags,
        grpc_response_status: grpcLabel(facts.grpcStatus),
      }
      const row = rows.row(
        `${labelKey(facts)}|${outcome.response_code}|${facts.flags}|${outcome.grpc_response_status}`,
        () => ({ ...labelsOf(facts), ...outcome }),
        () => ({ ...overflowLabels(facts.protocol), ...outcome }),
      )
      row.requests++
      observe(row.duration, facts.durationMs)
      observe(row.requestBytes, facts.requestBytes)
      observe(row.responseBytes, facts.responseBytes)
    },
    watchMessages,
    mirrorSkipped: () => skipped.inc(),
  }
}
