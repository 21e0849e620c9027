import {
  type CelFacts,
  type CelNode,
  evaluateCel,
  type MetricName,
  parseCel,
  type ScopeTelemetry,
} from '#telemetry'
import type { Labels } from './labels.ts'

/** What is different of the series of one request or connection: other labels, null for one that is taken away; or none at all. */
export type Variants = Readonly<
  Partial<Record<MetricName, Readonly<Record<string, string | null>> | 'disabled'>>
>
export type VariantsOf = (facts: CelFacts) => Variants

const maxValue = 253

type Override = Readonly<{
  metric: MetricName
  disabled: boolean
  labels: readonly (readonly [string, CelNode | undefined])[]
}>

/** Expressions were judged when they came. */
const nodeOf = (text: string | null): CelNode | undefined => {
  const read = text === null ? undefined : parseCel(text)
  return read?.kind === 'expression' ? read.root : undefined
}

/** The overrides of one scope, ready to be asked; undefined for none, which is the usual case. */
export function variantsOf(metrics: ScopeTelemetry['metrics']): VariantsOf | undefined {
  const overrides = Object.entries(metrics).map(
    ([metric, { disabled, labels }]): Override => ({
      metric: metric as MetricName,
      disabled,
      labels: Object.entries(labels).map(([name, text]) => [name, nodeOf(text)] as const),
    }),
  )
  if (overrides.length === 0) return undefined
  return (facts) =>
    Object.fromEntries(
      overrides.map(({ metric, disabled, labels }) => [
        metric,
        disabled
          ? 'disabled'
          : Object.fromEntries(labels.map(([name, node]) => [name, node ? textOf(node, facts) : null])),
      ]),
    )
}

/** Envoy's word for what has no value. */
function textOf(node: CelNode, facts: CelFacts): string {
  const value = evaluateCel(node, facts)
  return value === undefined ? 'unknown' : `${value}`.slice(0, maxValue)
}

/** The labels of a series; undefined for one that is not told. */
export function labelsFor(
  metric: MetricName,
  labels: Labels,
  variants: Variants | undefined,
): Labels | undefined {
  const changes = variants?.[metric]
  if (changes === undefined) return labels
  if (changes === 'disabled') return undefined
  const made: Record<string, string> = { ...labels }
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete made[name]
    else made[name] = value
  }
  return made
}

type Told<T> = { labels: Labels; value: T }

/** Series that have the same labels by now are one (a label was taken away). */
export function united<T>(all: readonly Told<T>[], add: (a: T, b: T) => T): readonly Told<T>[] {
  const made = new Map<string, Told<T>>()
  for (const { labels, value } of all) {
    const key = Object.entries(labels).flat().join('\u0000')
    const known = made.get(key)
    if (known) known.value = add(known.value, value)
    else made.set(key, { labels, value })
  }
  return [...made.values()]
}
