import { parseSpiffeId, type CertificateState } from '#identity'
import { serveAdmin, startLogging } from '#telemetry'
import { adminRoutes, Profiler } from '../../../ztunnel/admin/index.ts'
import { parseConfig } from '../../../ztunnel/config.ts'
import type { Pods } from '../../../ztunnel/inpod/index.ts'
import { addressHandler, authorizationHandler, MeshState } from '../../../ztunnel/state/index.ts'
import type { ConnectionDump } from '../../../ztunnel/worker/index.ts'
import { createTestCa } from '../../fakes/test-ca.ts'

const id = parseSpiffeId('spiffe://cluster.local/ns/demo/sa/server')

type Resources = Readonly<Record<string, { bytes: Uint8Array }>>
const list = (resources: readonly Resources[]) =>
  resources.flatMap((some) =>
    Object.entries(some).map(([name, { bytes }]) => ({ name, version: '1', bytes })),
  )

/** An admin server with a mesh that a test fills, and what was asked of it. */
export async function startAdmin(
  test: { teardown(fn: () => Promise<void>): unknown },
  connections?: () => Promise<readonly ConnectionDump[]>,
) {
  if (!id) throw new Error('no id')
  const state = new MeshState('n1')
  const certificate = createTestCa().workload(id)
  const quits: number[] = []
  const dumps: ConnectionDump[] = []
  const certificates: CertificateState[] = [{ id, state: 'available', certificate }]
  const logs = startLogging({ write: () => undefined })
  const pods: ReturnType<Pods['list']>[number][] = []
  const profiler = new Profiler()
  const routes = adminRoutes({
    config: parseConfig({ NODE_NAME: 'n1' }),
    state,
    pods: { list: () => pods },
    connections: connections ?? (async () => dumps),
    certificates: { dump: () => certificates },
    logs,
    profiler,
    quit: async () => void quits.push(1),
  })
  const server = await serveAdmin(0, routes)
  test.teardown(async () => server[Symbol.asyncDispose]())
  const call = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method })
    return { status: response.status, body: await response.text() }
  }
  const addresses = (...resources: Resources[]) => addressHandler(state).apply(list(resources), [])
  const policies = (...resources: Resources[]) => authorizationHandler(state).apply(list(resources), [])
  const { port } = server
  return {
    routes,
    state,
    addresses,
    policies,
    pods,
    dumps,
    certificates,
    call,
    logs,
    quits,
    certificate,
    port,
    profiler,
  }
}
