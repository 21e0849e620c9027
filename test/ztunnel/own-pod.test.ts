import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import t from 'tap'
import { MeshError } from '#base'
import { Readiness, silent, startLogging } from '#telemetry'
import { startZtunnel } from '../../ztunnel/app.ts'
import { parseConfig } from '../../ztunnel/config.ts'
import type { Spawn } from '../../ztunnel/control/index.ts'
import { OwnPod } from '../../ztunnel/own-pod.ts'
import { type ControlCalls, Link, type WorkerCalls } from '../../ztunnel/worker/index.ts'
import { FakeXds } from '../fakes/fake-xds.ts'
import { policyResource, workloadResource } from '../fakes/mesh.ts'
import { createTestCa } from '../fakes/test-ca.ts'
import { until } from '../fakes/until.ts'

/** A worker that only remembers what it was told. */
function recording(heard: string[]): Spawn {
  return () => {
    const { port1, port2 } = new MessageChannel()
    const ended = Promise.withResolvers<string>()
    const nothing = () => undefined
    new Link<WorkerCalls, ControlCalls>(port2, {
      ready: nothing,
      resources: (batches) =>
        void heard.push(...batches.flatMap(({ upserts }) => upserts.map(({ name }) => name))),
      'start-pod': ({ pod, role }) => void heard.push(`${role} ${pod.name}`),
      'release-pod': nothing,
      'stop-accepting': nothing,
      'drain-pod': nothing,
      'stop-pod': nothing,
      renewed: nothing,
      forgotten: nothing,
      'flush-log': nothing,
      metrics: () => [],
      connections: () => ({}),
    })
    const stop = async () => {
      port1.close()
      ended.resolve('stopped')
    }
    return { port: port1, ended: ended.promise, stop }
  }
}

t.test('our own pod is served when its policies are known, not earlier', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lateen-own-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const ca = createTestCa()
  using xds = await FakeXds.start(ca)
  const root = join(directory, 'root.pem')
  writeFileSync(root, ca.rootPem)
  const config = parseConfig({
    NODE_NAME: 'n1',
    POD_NAME: 'ztunnel',
    POD_NAMESPACE: 'istio-system',
    SERVICE_ACCOUNT: 'ztunnel',
    XDS_ADDRESS: xds.address,
    XDS_ROOT_CA: root,
    CA_ROOT_CA: root,
    AUTH_TOKEN: 'a-token',
    INPOD_UDS: join(directory, 'none.sock'),
    ADMIN_PORT: '0',
    STATS_PORT: '0',
    READINESS_PORT: '0',
    ZTUNNEL_WORKER_THREADS: '1',
  })
  const heard: string[] = []
  const logs = startLogging({ write: () => undefined })
  await using ztunnel = await startZtunnel(config, { logs, spawn: recording(heard) })
  const stream = await xds.stream()
  const [uid = ''] = Object.keys(workloadResource({ name: 'ztunnel', node: 'n2' }))
  stream.send('type.googleapis.com/istio.workload.Address', workloadResource({ name: 'ztunnel', node: 'n2' }))
  await until(() => heard.includes(uid), 'the worker knows the pod')
  await new Promise((done) => setImmediate(done))
  t.same(heard, [uid], 'and does not listen in it')
  t.ok(ztunnel.readiness.waitingFor.includes('own pod'))
  const policies = policyResource({ name: 'scrapers' })
  stream.send('type.googleapis.com/istio.security.Authorization', policies)
  await until(() => heard.includes('own ztunnel'), 'it listens')
  t.same(heard, [uid, ...Object.keys(policies), 'own ztunnel'])
})

t.test('a port that is taken is waited for; whoever leaves waits no more', async (t) => {
  const readiness = new Readiness()
  const leaving = new AbortController()
  const pod = { name: 'a', namespace: 'b', serviceAccount: 'c' }
  let tries = 0
  const startPod = async () => {
    tries++
    throw new MeshError('syscall-failed', { message: 'port in use' })
  }
  await using own = new OwnPod({ pod, workers: { startPod }, readiness, log: silent })
  own.serve(leaving.signal)
  await until(() => tries === 1, 'it is tried')
  t.same(readiness.waitingFor, ['own pod'])
  leaving.abort()
  await own.drain()
  t.equal(tries, 1)
})
