import { AggregatorRegistry, type Registry } from 'prom-client'

/** One metric with its values, as a registry gives it away to be added up elsewhere. */
export type MetricRecord = Awaited<ReturnType<Registry['getMetricsAsJSON']>>[number]

/** The metrics of several threads as one: each by its own way of adding up, which for most is the sum. */
export const sumMetrics = (parts: readonly (readonly MetricRecord[])[]): Registry =>
  AggregatorRegistry.aggregate(parts.map((part) => [...part]))

/** What is left of a thread that is gone: what it counted. Its gauges told of a state that is no more. */
export const countsOf = (records: readonly MetricRecord[]): readonly MetricRecord[] =>
  // prom-client's type says enum, its value is the name.
  records.filter(({ type }) => ['counter', 'histogram'].includes(String(type)))
