import { parentPort, workerData } from 'node:worker_threads'
import { MeshError } from '#base'
import { startLogging, surviveBugs } from '#telemetry'
import type { ThreadStart } from './messages.ts'
import { serveControl } from './serve.ts'

if (!parentPort) throw new MeshError('bad-config', { message: 'this is the entry of a worker thread' })
const start = workerData as ThreadStart // ours: control/spawn.ts
const logs = startLogging({ format: start.config.log.format, port: start.logPort })
const { registry } = serveControl(parentPort, start, { logs })
surviveBugs(registry, logs.root('ztunnel'))
