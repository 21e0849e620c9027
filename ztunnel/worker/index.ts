/** The data plane of one thread. */
export { type DataWorker, serveControl } from './serve.ts'
/** What it and control say to each other. */
export type {
  Batch,
  ConnectionDump,
  ControlCalls,
  PodHandle,
  ThreadStart,
  WorkerCalls,
  WorkerStart,
} from './messages.ts'
export { Link, type Port } from './link.ts'
