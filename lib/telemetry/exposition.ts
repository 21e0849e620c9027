import type { MetricRecord } from './sum-metrics.ts'

/** Families → OpenMetrics 1.0, or the text that Prometheus always understood. Families without a value are left out. */
export function exposition(records: readonly MetricRecord[], format: 'openmetrics' | 'text'): string {
  let out = ''
  for (const { name, help, type, values } of records) {
    if (values.length === 0) continue
    const counter = String(type) === 'counter'
    const family = format === 'openmetrics' && counter ? name.replace(/_total$/, '') : name
    out += `# HELP ${family} ${escapeText(help)}\n# TYPE ${family} ${typeName(String(type), format)}\n`
    for (const value of values) {
      const { labels, value: number } = value
      const sample = format === 'openmetrics' && counter ? `${family}_total` : sampleName(value, name)
      out += `${sample}${labelList(labels)} ${numberText(number)}\n`
    }
  }
  return format === 'openmetrics' ? `${out}# EOF\n` : out
}

/** OpenMetrics has another word for what has no type. */
const typeName = (type: string, format: 'openmetrics' | 'text') =>
  type === 'untyped' && format === 'openmetrics' ? 'unknown' : type

/** The parts of a histogram and a summary have names of their own. */
const sampleName = (value: object, name: string): string =>
  'metricName' in value && typeof value.metricName === 'string' ? value.metricName : name

function labelList(labels: Readonly<Record<string, string | number | undefined>>): string {
  let list = ''
  for (const key in labels) {
    const value = labels[key]
    if (value !== undefined) list += `${list === '' ? '' : ','}${key}="${escapeLabel(`${value}`)}"`
  }
  return list === '' ? '' : `{${list}}`
}

const escapeText = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
const escapeLabel = (text: string) => (/[\\\n"]/.test(text) ? escapeText(text).replaceAll('"', '\\"') : text)

function numberText(value: number): string {
  if (Number.isFinite(value)) return `${value}`
  if (Number.isNaN(value)) return 'NaN'
  return value > 0 ? '+Inf' : '-Inf'
}
