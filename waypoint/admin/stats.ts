import { type Answer, metricsRoute, type MetricSource } from '#telemetry'

/** A name's and its labels'. */
const maxFilter = 200

/**
 * Envoy's /stats: `name{labels}: value` per line, as Prometheus has it with `format=prometheus`, as an object with
 * `format=json`; only what matches `filter`.
 */
export async function answerStats(registry: MetricSource, query: URLSearchParams): Promise<Answer> {
  if (query.get('format') === 'prometheus') return metricsRoute(registry)({})
  const wanted = filterOf(query.get('filter') ?? '')
  if (wanted === undefined) return { status: 400, body: 'filter: not an expression\n' }
  const lines = (await registry.getMetricsAsJSON()).flatMap(({ name, values }) =>
    values.flatMap((one) => {
      const { labels, value } = one
      const metricName = 'metricName' in one && typeof one.metricName === 'string' ? one.metricName : name
      const inner = Object.entries(labels).map(([key, text]) => `${key}="${text}"`)
      const whole = inner.length === 0 ? metricName : `${metricName}{${inner.join(',')}}`
      return wanted.test(whole) ? [{ name: whole, value }] : []
    }),
  )
  if (query.get('format') === 'json')
    return { status: 200, type: 'application/json', body: `${JSON.stringify({ stats: lines })}\n` }
  return { status: 200, body: lines.map(({ name, value }) => `${name}: ${value}\n`).join('') }
}

function filterOf(text: string): RegExp | undefined {
  try {
    return text.length > maxFilter ? undefined : new RegExp(text)
  } catch {
    return undefined
  }
}
