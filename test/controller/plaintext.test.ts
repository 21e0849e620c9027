import { once } from 'node:events'
import { ChannelCredentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import t from 'tap'
import { addressTypeUrl, ads, ca } from '#wire'
import { FakeKube } from '../fakes/fake-kube.ts'
import { acceptTokens, controllerFor, names, namespace, ztunnelPod, ztunnelToken } from './mesh-kit.ts'

const start = async () => {
  const kube = await FakeKube.start(namespace('istio-system'), ztunnelPod)
  acceptTokens(kube)
  return kube
}

const request = (token: string | undefined) => {
  const metadata = new Metadata()
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
  return metadata
}

t.test('xDS without TLS is not served unless asked for', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  t.equal(running.app.ports.plaintextXds, undefined)
})

t.test('xDS without TLS wants the same tokens, and signs nothing', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube, { XDS_PLAINTEXT_PORT: '0' })
  const address = `127.0.0.1:${running.app.ports.plaintextXds}`
  const client = new ads.AggregatedDiscoveryServiceClient(address, ChannelCredentials.createInsecure())
  const signer = new ca.IstioCertificateServiceClient(address, ChannelCredentials.createInsecure())
  t.teardown(() => (client.close(), signer.close()))
  const first = ads.DeltaDiscoveryRequest.decode(
    new Uint8Array([0x12, addressTypeUrl.length, ...Buffer.from(addressTypeUrl)]),
  )
  const stranger = client.deltaAggregatedResources(request(undefined))
  stranger.write(first)
  stranger.on('data', () => t.fail('a stranger is told nothing'))
  const [refused]: ServiceError[] = await once(stranger, 'error')
  t.equal(refused?.code, status.UNAUTHENTICATED)

  const call = client.deltaAggregatedResources(request(ztunnelToken))
  call.write(first)
  const [response]: ads.DeltaDiscoveryResponse[] = await once(call, 'data')
  t.strictSame(response && names(response), ['Kubernetes//Pod/istio-system/ztunnel-1'])
  call.on('error', () => undefined)
  call.cancel()

  const error = await new Promise<ServiceError | null>((done) => {
    const asked = { csr: '', validityDuration: 0, metadata: undefined }
    signer.createCertificate(asked, request(ztunnelToken), (failure) => done(failure))
  })
  t.equal(error?.code, status.UNIMPLEMENTED)
})
