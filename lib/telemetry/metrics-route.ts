import type { IncomingHttpHeaders } from 'node:http'
import { promisify } from 'node:util'
import { brotliCompress, constants, deflate, gzip, zstdCompress } from 'node:zlib'
import { exposition } from './exposition.ts'
import type { Answer } from './health.ts'
import { preferred } from './negotiate.ts'
import type { MetricRecord } from './sum-metrics.ts'

/** Where metrics come from; a `Registry` is one. */
export type MetricSource = Readonly<{ getMetricsAsJSON(): Promise<readonly MetricRecord[]> }>

/** Speed before size: a scrape is read at once and thrown away. */
const quickBrotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }
const encoders = {
  zstd: promisify(zstdCompress),
  gzip: promisify(gzip),
  br: (text: string) => promisify(brotliCompress)(text, quickBrotli),
  deflate: promisify(deflate),
} as const
type Encoding = keyof typeof encoders
const encodings = Object.keys(encoders) as readonly Encoding[]

const openMetrics = 'application/openmetrics-text'
const types = {
  openmetrics: `${openMetrics};charset=utf-8;version=1.0.0`,
  text: 'text/plain; charset=utf-8',
} as const
type Format = keyof typeof types

/**
 * The route of a scrape: OpenMetrics for those who ask for it, compressed as they like (ztunnel: hyper_util, metrics
 * server). Those who ask for the same at the same time get the same answer, so that many cost no more than one.
 */
export function metricsRoute(source: MetricSource): (headers: IncomingHttpHeaders) => Promise<Answer> {
  const underWay = new Map<string, Promise<Answer>>()
  return (headers) => {
    const format = formatOf(headers)
    const encoding = preferred(headers['accept-encoding'], encodings)
    const key = `${format} ${encoding}`
    const shared = underWay.get(key)
    if (shared) return shared
    const answer = scrape(source, format, encoding).finally(() => underWay.delete(key))
    underWay.set(key, answer)
    return answer
  }
}

const formatOf = ({ accept }: IncomingHttpHeaders): Format =>
  preferred(accept, ['text/plain', openMetrics]) === openMetrics ? 'openmetrics' : 'text'

async function scrape(source: MetricSource, format: Format, encoding: Encoding | undefined): Promise<Answer> {
  const text = exposition(await source.getMetricsAsJSON(), format)
  const answer = { status: 200, type: types[format] }
  if (encoding === undefined) return { ...answer, body: text, headers: { vary } }
  return { ...answer, body: await encoders[encoding](text), headers: { vary, 'content-encoding': encoding } }
}

const vary = 'accept, accept-encoding'
