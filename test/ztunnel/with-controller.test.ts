import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ip } from '#base'
import { createRoot } from '#identity'
import { kinds } from '#kube'
import { policyName } from '#policy'
import { startLogging } from '#telemetry'
import { startZtunnel } from '../../ztunnel/app.ts'
import { parseConfig } from '../../ztunnel/config.ts'
import {
  acceptTokens,
  controllerFor,
  namespace,
  pod,
  type Running,
  service,
  ztunnelPod,
  ztunnelToken,
} from '../controller/mesh-kit.ts'
import { FakeKube } from '../fakes/fake-kube.ts'
import { eventually, type LogLine } from '../fakes/mesh-world.ts'

const allowBank = {
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'only-bank', namespace: 'shop' },
  spec: {
    action: 'ALLOW',
    rules: [{ from: [{ source: { principals: ['cluster.local/ns/bank/sa/teller'] } }] }],
  },
}

type Dump = {
  certificates: { identity: string; state: string; certChain: { serialNumber: string }[] }[]
}

async function startNode(running: Running, directory: string) {
  writeFileSync(join(directory, 'root.pem'), running.root)
  writeFileSync(join(directory, 'token'), ztunnelToken)
  const address = `127.0.0.1:${running.app.ports.xds}`
  const config = parseConfig({
    NODE_NAME: 'node-1',
    POD_NAME: 'ztunnel-1',
    POD_NAMESPACE: 'istio-system',
    INSTANCE_IP: '10.244.1.2',
    XDS_ADDRESS: address,
    CA_ADDRESS: address,
    ALT_XDS_HOSTNAME: 'istiod.istio-system.svc',
    ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
    XDS_ROOT_CA: join(directory, 'root.pem'),
    CA_ROOT_CA: join(directory, 'root.pem'),
    AUTH_TOKEN: join(directory, 'token'),
    INPOD_UDS: join(directory, 'none.sock'),
    ADMIN_PORT: '0',
    STATS_PORT: '0',
    READINESS_PORT: '0',
  })
  const lines: LogLine[] = []
  const logs = startLogging({ format: 'json', write: (line) => lines.push(JSON.parse(line)) })
  return { ztunnel: await startZtunnel(config, { logs }), lines }
}

t.test('our ztunnel and our controller: mesh, policies and certificates', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lateen-zc-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  await using kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    ztunnelPod,
    pod('shop', 'order', { ip: '10.244.1.5' }),
    pod('shop', 'far', { ip: '10.244.2.5', node: 'node-2' }),
    service('shop', 'order'),
  )
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const { ztunnel, lines } = await startNode(running, directory)
  await using _stop = ztunnel
  const { state, readiness } = ztunnel
  await eventually(() => !readiness.waitingFor.includes('state manager'), 'the first sync')
  t.equal(state.workloadAt('', ip('10.244.1.5'))?.identity, 'spiffe://cluster.local/ns/shop/sa/order')
  t.equal(state.workloadAt('', ip('10.244.2.5'))?.node, 'node-2')
  t.equal(state.serviceAt('', ip('10.96.1.1'), 'shop')?.hostname, 'order.shop.svc.cluster.local')

  const certificates = async () => {
    const response = await fetch(`http://127.0.0.1:${ztunnel.ports.admin}/config_dump`)
    return ((await response.json()) as Dump).certificates
  }
  await eventually(async () => (await certificates()).some((c) => c.state === 'Available'), 'a certificate')
  t.match(
    await certificates(),
    [{ identity: 'spiffe://cluster.local/ns/shop/sa/order', state: 'Available' }],
    'of the workload on this node, and of no other',
  )

  const serial = async () => (await certificates())[0]?.certChain[0]?.serialNumber
  const before = await serial()
  const other = createRoot({ organization: 'next', validityMs: 3_600_000 })
  writeFileSync(join(directory, 'root.pem'), running.root + other.certPem)
  await eventually(async () => (await serial()) !== before, 'new roots bring a new certificate')

  kube.put(allowBank)
  const name = policyName('shop', 'only-bank')
  await eventually(() => state.policies.byName.has(name), 'the policy')
  t.match(state.policies.byName.get(name), { action: 'allow', scope: 'namespace', problems: [] })
  kube.remove(kinds.AuthorizationPolicy, 'only-bank', 'shop')
  await eventually(() => !state.policies.byName.has(name), 'its removal')
  kube.remove(kinds.Pod, 'order', 'shop')
  await eventually(async () => (await certificates()).length === 0, 'the certificate is forgotten')
  t.same(
    lines.filter(({ level }) => level === 'error'),
    [],
    'nothing was rejected on the way',
  )
})
