export { endpointsOf, type Sources } from './endpoints.ts'
export { debugRoutes, type DebugOptions, debugStream } from './serve.ts'
