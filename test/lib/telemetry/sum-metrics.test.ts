import t from 'tap'
import { Counter, countsOf, Gauge, Histogram, Registry, sumMetrics } from '#telemetry'

/** What one thread has counted, as it arrives from there. */
async function thread(counts: Readonly<Record<string, number>>, open: number, delays: readonly number[]) {
  const registry = new Registry()
  const registers = [registry]
  const counter = new Counter({ name: 'tunnels_total', help: 'Tunnels', labelNames: ['to'], registers })
  for (const [to, count] of Object.entries(counts)) counter.inc({ to }, count)
  new Gauge({ name: 'open', help: 'Open', registers }).set(open)
  new Gauge({ name: 'limit', help: 'Limit', registers, aggregator: 'max' }).set(open * 10)
  const histogram = new Histogram({ name: 'delay', help: 'Delay', buckets: [1, 2], registers })
  for (const delay of delays) histogram.observe(delay)
  return structuredClone(await registry.getMetricsAsJSON())
}

t.test('counters, gauges and histograms add up, each per label', async (t) => {
  const parts = [await thread({ a: 1, b: 2 }, 3, [0.5, 1.5]), await thread({ b: 5 }, 4, [1.5, 9])]
  const text = await sumMetrics(parts).metrics()
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  t.same(lines.toSorted(), [
    'delay_bucket{le="+Inf"} 4',
    'delay_bucket{le="1"} 1',
    'delay_bucket{le="2"} 3',
    'delay_count 4',
    'delay_sum 12.5',
    'limit 40',
    'open 7',
    'tunnels_total{to="a"} 1',
    'tunnels_total{to="b"} 7',
  ])
})

t.test('of a thread that is gone the counts stay and the state does not', async (t) => {
  const gone = countsOf(await thread({ a: 1 }, 3, [0.5]))
  t.same(gone.map(({ name }) => name).toSorted(), ['delay', 'tunnels_total'])
  const again = await sumMetrics([gone, countsOf(gone)]).getMetricsAsJSON()
  t.match(
    again.find(({ name }) => name === 'tunnels_total')?.values,
    [{ value: 2 }],
    'a sum can be added to again',
  )
  t.equal(await sumMetrics([]).metrics(), '\n')
})
