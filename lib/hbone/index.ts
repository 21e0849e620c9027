export type { InboundTunnel, OutboundTunnel, Transferred, Tunnel } from './tunnel.ts'
export { defaultLimits, type HboneLimits } from './limits.ts'
export { type HboneServerConnection, serveHbone, type ServeOptions } from './server.ts'
export { type ConnectOptions, HbonePool, type PoolKey } from './pool.ts'
export { connectThrough, type ThroughOptions } from './through.ts'
export { limitBuffers } from './memory.ts'
export { breakOff } from './break-off.ts'
export { forwardSockets } from './plain.ts'
export type { ByteStream, BytesUser } from './byte-stream.ts'
export { socketBytes } from './socket-bytes.ts'
export { ByteQueue, type Batch } from './byte-queue.ts'
export { MemoryBudget, processBudget, releaseSlab, slabFor, unsentBudget } from './memory.ts'
export { Connection as H2Connection, type ConnectionEvents as H2Events } from './connection.ts'
export { type Dialect, type Message } from './fields.ts'
export {
  errorCode as h2Code,
  flag as h2Flag,
  frameType as h2Frame,
  headerBytes as h2HeaderBytes,
  putHeader,
} from './frames.ts'
export type { Field } from './hpack/decode.ts'
export { limitsOf } from './limits.ts'
export type { Stream as H2Stream, StreamListener as H2Listener } from './stream.ts'
