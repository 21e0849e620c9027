import { setImmediate as nextTurn } from 'node:timers/promises'
import { Counter, Gauge, type Registry } from '#telemetry'
import type { ShedReason } from './admission.ts'
import { type LabelFacts, labelNames, type Labels } from './labels.ts'
import { type Counted, type Row, Traffic } from './traffic.ts'

/** Connections whose bytes are read in one turn of the loop, at about 1 µs each. */
const maxPerTurn = 1000

/** The proxy's metrics, under ztunnel's names. */
export type ProxyMetrics = Readonly<{
  /** Counts a connection as open until it is closed. */
  open(facts: LabelFacts): Counted
  sockets: Readonly<{
    inc(reporter: 'source' | 'destination'): void
    dec(reporter: 'source' | 'destination'): void
  }>
  shed(reason: ShedReason): void
  /** Lines of the access log that were left out. */
  unlogged(lines: number): void
}>

type Value = { labels: Labels; value: number }

/** A counter whose values are made when it is read, rather than looked up by 30 labels whenever it counts. */
class RowCounter extends Counter {
  readonly #values: () => Promise<Value[]>

  constructor(registry: Registry, name: string, help: string, values: () => Promise<Value[]>) {
    super({ name, help, labelNames: [...labelNames], registers: [registry] })
    this.#values = values
  }

  override async get() {
    return { ...(await super.get()), values: await this.#values() }
  }
}

function trafficMetrics(registry: Registry, traffic: Traffic): void {
  const per = (valuesOf: (row: Row) => Iterable<readonly [flag: string, value: number]>) => async () =>
    [...traffic.rows()].flatMap((row) =>
      [...valuesOf(row)].map(
        ([flag, value]): Value => ({
          labels: flag === '-' ? row.labels : { ...row.labels, response_flags: flag },
          value,
        }),
      ),
    )
  const counter = (name: string, help: string, values: () => Promise<Value[]>) =>
    new RowCounter(registry, name, help, values)
  counter(
    'istio_tcp_connections_opened_total',
    'The total number of TCP connections opened',
    per((row) => [['-', row.opened]]),
  )
  counter(
    'istio_tcp_connections_closed_total',
    'The total number of TCP connections closed',
    per((row) => row.closed),
  )
  counter(
    'istio_tcp_connections_failed_total',
    'The total number of TCP connections that failed to establish (unstable)',
    per((row) => [...row.closed].filter(([flag]) => flag !== '-')),
  )
  let sampling: Promise<void> | undefined
  const bytes = (valuesOf: (row: Row) => number) => async () => {
    await (sampling ??= sampleAll(traffic).finally(() => (sampling = undefined)))
    return per((row) => [['-', valuesOf(row)]])()
  }
  counter(
    'istio_tcp_sent_bytes_total',
    'The size of total bytes sent during response in case of a TCP connection',
    bytes((row) => row.sent),
  )
  counter(
    'istio_tcp_received_bytes_total',
    'The size of total bytes received during request in case of a TCP connection',
    bytes((row) => row.received),
  )
}

async function sampleAll(traffic: Traffic): Promise<void> {
  let n = 0
  for (const watched of traffic.watched) {
    watched.sample()
    if (++n % maxPerTurn === 0) await nextTurn()
  }
}

export function proxyMetrics(registry: Registry): ProxyMetrics {
  const traffic = new Traffic()
  trafficMetrics(registry, traffic)
  const registers = [registry]
  const shed = new Counter({
    name: 'lateen_connections_shed_total',
    help: 'Connections refused to keep descriptors free (unstable)',
    labelNames: ['reason'],
    registers,
  })
  const unlogged = new Counter({
    name: 'lateen_access_log_suppressed_total',
    help: 'Failed connections counted in a summary line of the access log instead of one each (unstable)',
    registers,
  })
  const open = new Gauge({
    name: 'istio_tcp_sockets_open',
    help: 'The current number of accepted sockets (unstable)',
    labelNames: ['reporter'],
    registers,
  })
  return {
    open: (facts) => traffic.open(facts),
    sockets: { inc: (reporter) => open.inc({ reporter }), dec: (reporter) => open.dec({ reporter }) },
    shed: (reason) => shed.inc({ reason }),
    unlogged: (lines) => unlogged.inc(lines),
  }
}
