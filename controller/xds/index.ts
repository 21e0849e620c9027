export { serveDeltas, type ServeOptions } from './server.ts'
export { type XdsMetrics, xdsMetrics } from './metrics.ts'
export type { Resource, View } from './snapshot.ts'
export { adsService } from './service.ts'
