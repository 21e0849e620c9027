import type { Registry } from '#telemetry'
import { commonLabels, type LabelFacts, labelKey, labelsOf, overflowLabels } from './labels.ts'
import { Live } from './live.ts'
import { RowCounter } from './row-metrics.ts'
import { Rows } from './rows.ts'

type Row = { opened: number; closed: Map<string, number>; sent: number; received: number }

/** Bytes that the client of a connection has got (`sent`) and sent so far. */
export type Moved = Readonly<{ sent: number; received: number }>

/** One connection while it counts. */
export type CountedConnection = Readonly<{ closed(flag: string, all: Moved): void }>

/** Counts TCP connections; `moved` is asked while one is open. */
export type TcpMetrics = Readonly<{ open(facts: LabelFacts, moved: () => Moved): CountedConnection }>

/** The TCP series of Istio's proxies, with reporter="waypoint". */
export function tcpMetrics(registry: Registry): TcpMetrics {
  const rows = new Rows<Row>(() => ({ opened: 0, closed: new Map(), sent: 0, received: 0 }))
  const live = new Live()
  const counter = (name: string, help: string, valuesOf: (row: Row) => Iterable<readonly [string, number]>) =>
    new RowCounter(registry, name, help, commonLabels, () => {
      live.sample()
      return [...rows.entries()].flatMap(({ labels, value: row }) =>
        [...valuesOf(row)].map(([flag, value]) => ({ labels: { ...labels, response_flags: flag }, value })),
      )
    })
  counter('istio_tcp_connections_opened_total', 'The total number of TCP connections opened', (row) => [
    ['-', row.opened],
  ])
  counter(
    'istio_tcp_connections_closed_total',
    'The total number of TCP connections closed',
    (row) => row.closed,
  )
  counter(
    'istio_tcp_sent_bytes_total',
    'The size of total bytes sent during response in case of a TCP connection',
    (row) => [['-', row.sent]],
  )
  counter(
    'istio_tcp_received_bytes_total',
    'The size of total bytes received during request in case of a TCP connection',
    (row) => [['-', row.received]],
  )
  return {
    open: (facts, moved) => {
      const row = rows.row(
        labelKey(facts),
        () => labelsOf(facts),
        () => overflowLabels('tcp'),
      )
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
          row.closed.set(flag, (row.closed.get(flag) ?? 0) + 1)
        },
      }
    },
  }
}
