import { once } from 'node:events'
import { connect } from 'node:http2'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { isRecord } from '#base'
import { kinds } from '#kube'
import { startLogging } from '#telemetry'
import { ca } from '#wire'
import { startController } from '../../controller/app.ts'
import { parseConfig } from '../../controller/config.ts'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import {
  acceptTokens,
  adsStream,
  controllerFor,
  namespace,
  pod,
  ztunnelNode,
  ztunnelPod,
} from './mesh-kit.ts'

const start = async () => {
  const kube = await FakeKube.start(namespace('istio-system'), ztunnelPod, pod('shop', 'order'))
  acceptTokens(kube)
  return kube
}

t.test('a leader that may not see the bundles ends all the same', async (t) => {
  await using kube = await start()
  const refusal = { status: 403, body: { kind: 'Status', reason: 'Forbidden', message: 'no' } }
  kube.hook(({ method, path }) => (method === 'GET' && path === '/api/v1/configmaps' ? refusal : undefined))
  const config = parseConfig({
    XDS_PORT: '0',
    WEBHOOK_PORT: '0',
    MONITORING_PORT: '0',
    READINESS_PORT: '0',
    POD_NAME: 'istiod-1',
  })
  const lines: string[] = []
  const log = startLogging({ write: (line) => void lines.push(line) }).root('istiod')
  const app = await startController(config, kube.client(), log)
  await until(
    () => lines.some((line) => line.includes('\tleading\t') && line.includes('istio-namespace-controller')),
    'it leads',
  )
  const holder = () =>
    kube.read(kinds.Lease, 'istio-namespace-controller-election', 'istio-system')?.spec?.holderIdentity
  await app[Symbol.asyncDispose]()
  t.equal(holder(), '', 'and has let go of the lease')
})

t.test('one pod has few streams at a time', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  using streams = new DisposableStack()
  const open = () => {
    const stream = streams.use(adsStream(running))
    stream.send({ node: ztunnelNode })
    return stream
  }
  const held = Array.from({ length: 8 }, open)
  for (const stream of held) await stream.next()
  t.equal((await open().error())?.code, status.RESOURCE_EXHAUSTED)
  const other = streams.use(adsStream(running, 'shop/order/order/uid-of-order'))
  other.send()
  t.ok(await other.next(), 'another pod is served')
  held[0]?.call.cancel()
  const served = async () => {
    const stream = open()
    await until(() => stream.responses.length > 0 || stream.failed(), 'an answer')
    return !stream.failed()
  }
  let again = await served()
  for (let n = 0; !again && n < 100; n++) again = await served()
  t.ok(again, 'one that ended makes room')
})

t.test('a stranger is refused before anything of the request for a certificate is read', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  const session = connect(`https://127.0.0.1:${running.app.ports.xds}`, { rejectUnauthorized: false })
  t.teardown(() => session.destroy())
  const { path } = ca.IstioCertificateServiceService.createCertificate
  const ask = async (authorization: string) => {
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' }
    const stream = session.request({ ...headers, authorization }) // and nothing of the body
    const [answer] = await once(stream, 'response')
    stream.destroy()
    return isRecord(answer) ? answer['grpc-status'] : undefined
  }
  t.equal(Number(await ask('Bearer garbage')), status.UNAUTHENTICATED)
  t.equal(Number(await ask('')), status.UNAUTHENTICATED)
})
