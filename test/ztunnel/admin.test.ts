import { request } from 'node:http'
import t from 'tap'
import { parseSpiffeId } from '#identity'
import { Readiness, Registry, silent, startLogging } from '#telemetry'
import { adminRoutes, serveAdmin } from '../../ztunnel/admin/index.ts'
import { parseConfig } from '../../ztunnel/config.ts'
import { podMetrics, Pods } from '../../ztunnel/inpod/index.ts'
import { addressHandler, authorizationHandler, MeshState } from '../../ztunnel/state/index.ts'
import { policyResource, serviceResource, workloadResource } from '../fakes/mesh.ts'
import { createTestCa } from '../fakes/test-ca.ts'

const id = parseSpiffeId('spiffe://cluster.local/ns/demo/sa/server')
const list = (resources: Readonly<Record<string, { bytes: Uint8Array }>>) =>
  Object.entries(resources).map(([name, { bytes }]) => ({ name, version: '1', bytes }))

async function start(test: { teardown(fn: () => Promise<void>): unknown }) {
  if (!id) throw new Error('no id')
  const state = new MeshState('n1')
  const certificate = createTestCa().workload(id)
  const quits: number[] = []
  const logs = startLogging({ write: () => undefined })
  const signal = new AbortController().signal
  const readiness = new Readiness()
  const refuse = () => Promise.reject(new Error('not here'))
  const pods = new Pods({
    start: refuse,
    log: silent,
    readiness,
    metrics: podMetrics(new Registry()),
    signal,
    releaseMs: 0,
  })
  const routes = adminRoutes({
    config: parseConfig({ NODE_NAME: 'n1' }),
    state,
    pods,
    connections: async () => [],
    certificates: { dump: () => [{ id, state: 'available', certificate }] },
    logs,
    quit: async () => void quits.push(1),
  })
  const server = await serveAdmin(0, routes)
  test.teardown(async () => server[Symbol.asyncDispose]())
  const call = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method })
    return { status: response.status, body: await response.text() }
  }
  return { state, call, logs, quits, certificate, port: server.port }
}

t.test('config_dump has the shape that istioctl reads, and no key', async (t) => {
  const { state, call, certificate } = await start(t)
  const web = 'demo/web.demo.svc.cluster.local'
  addressHandler(state).apply(
    [
      ...list(
        workloadResource({
          name: 'server',
          node: 'n1',
          addresses: ['10.0.0.2'],
          services: { [web]: { 80: 8080 } },
        }),
      ),
      ...list(
        serviceResource({
          name: 'web',
          vips: ['10.96.0.1', '10.97.0.0/16'],
          ports: { 80: 8080 },
          waypoint: '10.0.0.9',
        }),
      ),
    ],
    [],
  )
  authorizationHandler(state).apply(list(policyResource({ name: 'p', principals: ['td/ns/a/sa/b'] })), [])
  const { body } = await call('/config_dump')
  t.notMatch(body, 'PRIVATE KEY')
  t.notOk(body.includes(certificate.privateKeyPem.slice(40, 80)))
  const dump = JSON.parse(body)
  t.match(dump.workloads, [
    {
      uid: 'Kubernetes//Pod/demo/server',
      workloadIps: ['10.0.0.2'],
      protocol: 'HBONE',
      name: 'server',
      namespace: 'demo',
      status: 'Healthy',
      workloadType: 'deployment',
      services: [web],
    },
  ])
  t.match(dump.services, [
    {
      hostname: 'web.demo.svc.cluster.local',
      vips: ['/10.96.0.1'],
      cidrVips: [{ network: '', cidr: '10.97.0.0/16' }],
      ports: { 80: 8080 },
      endpoints: { 'Kubernetes//Pod/demo/server': { port: { 80: 8080 }, status: 'Healthy' } },
      waypoint: { destination: '/10.0.0.9', hboneMtlsPort: 15008 },
    },
  ])
  t.strictSame(dump.policies, [
    {
      name: 'p',
      namespace: 'demo',
      scope: 'Namespace',
      action: 'Allow',
      rules: [[[{ principals: [{ Exact: 'td/ns/a/sa/b' }] }]]],
      dryRun: false,
    },
  ])
  t.match(dump.certificates, [
    {
      identity: id,
      state: 'Available',
      certChain: [{ serialNumber: /^\d+$/, validFrom: /T\d\d:\d\d:\d\dZ$/, expirationTime: /Z$/ }],
      rootCerts: [{ pem: /^[\w+/=]+$/ }],
    },
  ])
})

t.test('the log filter is shown, changed and reset by POST only', async (t) => {
  const { call } = await start(t)
  t.equal((await call('/logging?level=debug')).status, 405)
  t.match((await call('/logging', 'POST')).body, 'info')
  t.match((await call('/logging?level=access=debug', 'POST')).body, 'info,access=debug')
  t.match(
    (await call('/logging?level=ztunnel::xds=trace,access=off', 'POST')).body,
    'info,access=off,ztunnel::xds=trace',
  )
  t.equal((await call('/logging?level=loud', 'POST')).status, 400)
  t.match((await call('/logging?level=debug&reset', 'POST')).body, 'New log level is debug\n')
})

t.test('quitting needs a POST; unknown paths are not found', async (t) => {
  const { call, quits } = await start(t)
  t.equal((await call('/quitquitquit')).status, 405)
  t.equal(quits.length, 0)
  t.equal((await call('/quitquitquit', 'POST')).status, 200)
  t.equal(quits.length, 1)
  t.equal((await call('/nope')).status, 404)
  t.equal((await call('/')).status, 200)
})

t.test('a web page in the browser of an operator gets nothing and stops nothing', async (t) => {
  const { port, quits } = await start(t)
  const status = (path: string, method: string, headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, method, headers }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      sent.on('error', reject).end()
    })
  t.equal(await status('/config_dump', 'GET', { host: 'evil.example:15000' }), 403, 'rebound name')
  t.equal(await status('/quitquitquit', 'POST', { origin: 'https://evil.example' }), 403, 'foreign form')
  for (const host of ['localhost:15000', '127.0.0.1:15000', '[::1]:15000', 'localhost'])
    t.equal(await status('/config_dump', 'GET', { host }), 200, host)
  t.same(quits, [])
})
