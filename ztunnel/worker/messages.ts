import type { MessagePort } from 'node:worker_threads'
import type { SpiffeId, WorkloadCertificate } from '#identity'
import type { MetricRecord } from '#telemetry'
import type { Resource } from '#xds'
import type { Config } from '../config.ts'
import type { Role } from '../inpod/index.ts'
import type { PodContext, SharedAdmission } from '../proxy/index.ts'

/** What a data worker is born with. Everything else it is told. */
export type WorkerStart = Readonly<{
  index: number
  config: Config
  /** Descriptors of the process. */
  fileLimit: number
  /** What the workers know of each other's connections. */
  admission: SharedAdmission
  /** Counts up while the worker's loop turns. */
  beat: SharedArrayBuffer
}>
/** With the way to the log, for one in a thread of its own. */
export type ThreadStart = WorkerStart & Readonly<{ logPort: MessagePort }>

/** A pod's proxy by the number under which control started it: the uid may be there twice while an old one leaves. */
export type PodHandle = number

/** One change of the mesh, as the control plane sent it. */
export type Batch = Readonly<{ typeUrl: string; upserts: readonly Resource[]; removed: readonly string[] }>

/** Open connections per pod uid. */
export type ConnectionDump = Readonly<
  Record<string, Readonly<{ inbound: readonly unknown[]; outbound: readonly unknown[] }>>
>

/** What control asks of a worker. */
export type WorkerCalls = {
  /** Answered when the worker is able to take orders. */
  ready: { ask: undefined; answer: undefined }
  /** Applied together. */
  resources: { ask: readonly Batch[]; answer: undefined }
  /** Answered when the listeners are bound; the descriptor stays control's, and open until `stop-pod` is answered. */
  'start-pod': {
    ask: Readonly<{
      handle: PodHandle
      role: Role
      pod: PodContext['pod']
      netnsFd: number
      inode: bigint
    }>
    answer: undefined
  }
  'release-pod': { ask: Readonly<{ handle: PodHandle; released: boolean }>; answer: undefined }
  /** Answered when it listens no more; what it has accepted goes on. */
  'stop-accepting': { ask: Readonly<{ handle: PodHandle }>; answer: undefined }
  /** Answered when its last connection has ended. */
  'drain-pod': { ask: Readonly<{ handle: PodHandle }>; answer: undefined }
  /** Answered when nothing of it is left. */
  'stop-pod': { ask: Readonly<{ handle: PodHandle }>; answer: undefined }
  /** A certificate that was renewed. */
  renewed: { ask: WorkloadCertificate; answer: void }
  forgotten: { ask: SpiffeId; answer: void }
  /** Answered when every line that was logged so far is on its way. */
  'flush-log': { ask: undefined; answer: void }
  metrics: { ask: undefined; answer: readonly MetricRecord[] }
  connections: { ask: undefined; answer: ConnectionDump }
}

/** What a worker asks of control. */
export type ControlCalls = {
  certificate: { ask: SpiffeId; answer: WorkloadCertificate }
}
