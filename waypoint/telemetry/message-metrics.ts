import type { Registry } from '#telemetry'
import { commonLabels, type LabelFacts, labelKey, labelsOf, overflowLabels } from './labels.ts'
import { Live } from './live.ts'
import { RowCounter } from './row-metrics.ts'
import { Rows } from './rows.ts'

/** Messages of a gRPC call so far. */
export type Messages = Readonly<{ requests: number; responses: number }>
export type WatchMessages = (facts: LabelFacts, messages: () => Messages) => Disposable

type Row = { requests: number; responses: number }

/** How a call ends is not known while its messages come by (Istio's proxies have no flags here either). */
const labelNames = commonLabels.filter((name) => name !== 'response_flags')

/** The series of gRPC's messages (facts: l7.md §4.1). */
export function messageMetrics(registry: Registry): WatchMessages {
  const rows = new Rows<Row>(() => ({ requests: 0, responses: 0 }))
  const live = new Live()
  const counter = (name: string, help: string, of: (row: Row) => number) =>
    new RowCounter(registry, name, help, labelNames, () => {
      live.sample()
      return [...rows.entries()].map(({ labels, value }) => ({ labels, value: of(value) }))
    })
  counter('istio_request_messages_total', 'Messages of gRPC from clients', (row) => row.requests)
  counter('istio_response_messages_total', 'Messages of gRPC to clients', (row) => row.responses)
  return (facts, messages) => {
    const row = rows.row(
      labelKey(facts),
      () => labelsOf(facts),
      () => overflowLabels(facts.protocol),
    )
    let before: Messages = { requests: 0, responses: 0 }
    return live.watch(() => {
      const now = messages()
      row.requests += now.requests - before.requests
      row.responses += now.responses - before.responses
      before = now
    })
  }
}
