import { once } from 'node:events'
import { Metadata } from '@grpc/grpc-js'
import t from 'tap'
import { addressTypeUrl, ads, authorizationTypeUrl, clientStatus } from '#wire'
import { FakeKube } from '../../fakes/fake-kube.ts'
import {
  acceptTokens,
  adsStream,
  controllerFor,
  namespace,
  pod,
  type Running,
  ztunnelNode,
  ztunnelPod,
} from '../mesh-kit.ts'

/** One question of istioctl's, with the token that it asks the API server for. */
async function ask(
  running: Running,
  typeUrl: string,
  resourceNames: string[] = [],
): Promise<ads.DiscoveryResponse | undefined> {
  const client = running.ads()
  const metadata = new Metadata()
  metadata.set('authorization', 'Bearer istio-system/default')
  const call = client.streamAggregatedResources(metadata)
  const parts = { node: undefined, versionInfo: '', responseNonce: '', errorDetail: undefined }
  call.write({ ...parts, typeUrl, resourceNames })
  const [response]: ads.DiscoveryResponse[] = await once(call, 'data')
  call.on('error', () => undefined)
  call.cancel()
  client.close()
  return response
}

/** Asks again until the answer is as expected; each question is a stream of its own. */
async function told(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!(await isSo())) if (Date.now() > deadline) throw new Error(`never told: ${what}`)
}

t.test('istioctl sees a ztunnel come, lag, reject and go', async (t) => {
  await using kube = await FakeKube.start(namespace('istio-system'), namespace('shop'), ztunnelPod)
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const configs = async () => {
    const response = await ask(running, 'istio.io/debug/syncz')
    return response?.resources.map(({ value }) => clientStatus.ClientConfig.decode(value)) ?? []
  }
  const judged = async () =>
    Object.fromEntries(
      (await configs()).flatMap(({ genericXdsConfigs }) =>
        genericXdsConfigs.map(({ typeUrl, configStatus }) => [typeUrl, configStatus]),
      ),
    )
  const { STALE, SYNCED, ERROR } = clientStatus.ConfigStatus
  t.strictSame(await configs(), [], 'nobody yet; istioctl itself is not one of them')
  {
    using stream = adsStream(running)
    stream.send({ node: ztunnelNode })
    await stream.next(false)
    stream.send({ typeUrl: authorizationTypeUrl })
    await stream.next()
    await told(async () => (await judged())[authorizationTypeUrl] === SYNCED, 'the policies are acknowledged')
    t.strictSame(await judged(), { [addressTypeUrl]: STALE, [authorizationTypeUrl]: SYNCED })
    const [nonce = ''] = stream.responses.map((response) => response.nonce)
    stream.send({ responseNonce: nonce, errorDetail: { code: 0, message: 'cannot read', details: [] } })
    await told(async () => (await judged())[addressTypeUrl] === ERROR, 'it rejects')
    t.equal((await configs())[0]?.genericXdsConfigs[0]?.errorState?.details, 'cannot read')
    kube.put(pod('shop', 'order', { ip: '10.244.1.5' }))
    await stream.next()
    await told(async () => (await judged())[addressTypeUrl] === SYNCED, 'it takes the next')
  }
  await told(async () => (await configs()).length === 0, 'it is gone')
})

t.test('istioctl reads which controller answered', async (t) => {
  await using kube = await FakeKube.start(namespace('istio-system'), ztunnelPod)
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const response = await ask(running, 'istio.io/debug/syncz')
  t.match(JSON.parse(response?.controlPlane?.identifier ?? ''), {
    Component: 'istiod',
    ID: 'istiod-1',
    Info: { version: '0.1.0', revision: 'default' },
  })
})

t.test('/debug on the monitoring port shows the mesh and where a row came from', async (t) => {
  await using kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    pod('shop', 'order', { ip: '10.244.1.5' }),
  )
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const get = async (path: string): Promise<unknown> =>
    JSON.parse((await running.get(running.app.ports.monitoring, `/debug/${path}`)).body)
  t.match(await get('ambientz'), {
    workloads: [{ uid: 'Kubernetes//Pod/shop/order', addresses: ['10.244.1.5'], serviceAccount: 'order' }],
    services: [],
    policies: [],
  })
  t.strictSame(await get('syncz'), [])
  t.strictSame(await get('clusterz'), [{ id: 'Kubernetes', secretName: '', syncStatus: 'synced' }])
  const key = encodeURIComponent('Kubernetes//Pod/shop/order')
  t.match(await get(`krtz?collection=Workloads&key=${key}`), {
    row: { name: 'order' },
    explanation: { collection: 'Workloads', exists: true },
  })
  t.match(JSON.stringify(await get(`krtz?collection=Workloads&key=${key}`)), /"collection":"pods"/i)
  t.equal((await running.get(running.app.ports.monitoring, '/debug/force_disconnect')).status, 404)
  const metrics = await running.metrics()
  for (const line of [
    /^pilot_info\{version="0.1.0"\} 1$/m,
    /^istio_build\{component="pilot",tag="0.1.0"\} 1$/m,
    /^istiod_uptime_seconds \d/m,
    /^pilot_services 0$/m,
  ])
    t.match(metrics, line)
})

t.test('what a proxy has can be looked into, and what it has not been told of yet', async (t) => {
  const order = pod('shop', 'order', { ip: '10.244.1.5' })
  await using kube = await FakeKube.start(namespace('istio-system'), namespace('shop'), ztunnelPod, order)
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const dump = async (proxy: string): Promise<unknown> => {
    const response = await ask(running, 'istio.io/debug/config_dump', [proxy])
    return JSON.parse(String(response?.resources[0]?.value))
  }
  using stream = adsStream(running)
  stream.send({ node: ztunnelNode, resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] })
  await stream.next()
  stream.send({ resourceNamesSubscribe: ['/10.244.1.5', '/10.244.1.77'] })
  const { resources } = await stream.next(false)
  const [own, other] = ['istio-system/ztunnel-1', 'shop/order'].map((name) => `Kubernetes//Pod/${name}`)
  t.match(await dump('ztunnel-1.istio-system'), [
    {
      node: ztunnelNode.id,
      types: [
        {
          typeUrl: addressTypeUrl,
          wildcard: false,
          asked: ['/10.244.1.5', '/10.244.1.77', 'node:node-1'],
          resources: [{ name: own }, { name: other, version: resources[0]?.version }],
          pending: [],
        },
      ],
    },
  ])
  kube.put({ ...order, metadata: { ...order.metadata, annotations: {} } })
  await told(
    async () => JSON.stringify(await dump('ztunnel-1.istio-system')).includes(`"pending":["${other}"]`),
    'it waits',
  )
  t.match(await dump('nobody.anywhere'), { error: /no such proxy/ })
  const text = await ask(running, 'istio.io/debug', ['config_dump?proxyID=ztunnel-1.istio-system'])
  t.match(String(text?.resources[0]?.value), /"wildcard": false/)
})
