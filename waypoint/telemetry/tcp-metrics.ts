import type { MetricName, Registry } from '#telemetry'
import { commonLabels, type LabelFacts, labelKey, labelsOf, overflowLabels } from './labels.ts'
import { Live } from './live.ts'
import { RowCounter } from './row-metrics.ts'
import { Rows, sum } from './rows.ts'
import type { Variants } from './variants.ts'

type Row = { opened: number; sent: number; received: number }

/** Bytes that the client of a connection has got (`sent`) and sent so far. */
export type Moved = Readonly<{ sent: number; received: number }>

/** One connection while it counts. */
export type CountedConnection = Readonly<{ closed(flag: string, all: Moved): void }>

/** Counts TCP connections; `moved` is asked while one is open. */
export type TcpMetrics = Readonly<{
  open(facts: LabelFacts, moved: () => Moved, variants?: Variants): CountedConnection
}>

/** The TCP series of Istio's proxies, with reporter="waypoint". */
export function tcpMetrics(registry: Registry): TcpMetrics {
  const rows = new Rows<Row>(() => ({ opened: 0, sent: 0, received: 0 }))
  const live = new Live()
  const counter = (metric: MetricName, name: string, help: string, of: (row: Row) => number) =>
    new RowCounter(registry, name, help, commonLabels, () => {
      live.sample()
      return rows.told(metric, of, sum)
    })
  counter(
    'TCP_OPENED_CONNECTIONS',
    'istio_tcp_connections_opened_total',
    'The total number of TCP connections opened',
    (row) => row.opened,
  )
  counter(
    'TCP_SENT_BYTES',
    'istio_tcp_sent_bytes_total',
    'The size of total bytes sent during response in case of a TCP connection',
    (row) => row.sent,
  )
  counter(
    'TCP_RECEIVED_BYTES',
    'istio_tcp_received_bytes_total',
    'The size of total bytes received during request in case of a TCP connection',
    (row) => row.received,
  )
  const closedRows = new Rows<{ closed: number }>(() => ({ closed: 0 }))
  new RowCounter(
    registry,
    'istio_tcp_connections_closed_total',
    'The total number of TCP connections closed',
    commonLabels,
    () => closedRows.told('TCP_CLOSED_CONNECTIONS', ({ closed }) => closed, sum),
  )
  return {
    open: (facts, moved, variants) => {
      const flagged = (flag: string) => ({
        key: labelKey(facts),
        outcome: flag,
        labels: () => ({ ...labelsOf(facts), response_flags: flag }),
        overflow: () => ({ ...overflowLabels('tcp'), response_flags: flag }),
        variants,
      })
      const row = rows.row(flagged('-'))
      row.opened++
      let before: Moved = { sent: 0, received: 0 }
      const add = ({ sent, received }: Moved) => {
        row.sent += Math.max(0, sent - before.sent)
        row.received += Math.max(0, received - before.received)
        before = { sent: Math.max(sent, before.sent), received: Math.max(received, before.received) }
      }
      const watched = live.watch(() => add(moved()))
      return {
        closed: (flag, all) => {
          watched[Symbol.dispose]()
          add(all)
          closedRows.row(flagged(flag)).closed++
        },
      }
    },
  }
}
