import type { MetricName, Registry } from '#telemetry'
import { commonLabels, type LabelFacts, labelKey, labelsOf, overflowLabels } from './labels.ts'
import { Live } from './live.ts'
import { RowCounter } from './row-metrics.ts'
import { Rows, sum } from './rows.ts'
import type { Variants } from './variants.ts'

/** Messages of a gRPC call so far. */
export type Messages = Readonly<{ requests: number; responses: number }>
export type WatchMessages = (facts: LabelFacts, messages: () => Messages, variants?: Variants) => Disposable

type Row = { requests: number; responses: number }

/** How a call ends is not known while its messages come by (Istio's proxies have no flags here either). */
const labelNames = commonLabels.filter((name) => name !== 'response_flags')

/** The series of gRPC's messages (facts: l7.md §4.1). */
export function messageMetrics(registry: Registry): WatchMessages {
  const rows = new Rows<Row>(() => ({ requests: 0, responses: 0 }))
  const live = new Live()
  const counter = (metric: MetricName, name: string, help: string, of: (row: Row) => number) =>
    new RowCounter(registry, name, help, labelNames, () => {
      live.sample()
      return rows.told(metric, of, sum)
    })
  counter(
    'GRPC_REQUEST_MESSAGES',
    'istio_request_messages_total',
    'Messages of gRPC from clients',
    (row) => row.requests,
  )
  counter(
    'GRPC_RESPONSE_MESSAGES',
    'istio_response_messages_total',
    'Messages of gRPC to clients',
    (row) => row.responses,
  )
  return (facts, messages, variants) => {
    const row = rows.row({
      key: labelKey(facts),
      outcome: '',
      labels: () => labelsOf(facts),
      overflow: () => overflowLabels(facts.protocol),
      variants,
    })
    let before: Messages = { requests: 0, responses: 0 }
    return live.watch(() => {
      const now = messages()
      row.requests += now.requests - before.requests
      row.responses += now.responses - before.responses
      before = now
    })
  }
}
