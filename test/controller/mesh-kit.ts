import { once } from 'node:events'
import { ChannelCredentials, type ClientDuplexStream, Metadata, type ServiceError } from '@grpc/grpc-js'
import { createCsr, generateKeyPair, spiffeId } from '#identity'
import { kinds } from '#kube'
import { silent } from '#telemetry'
import { addressTypeUrl, ads, ca, workload } from '#wire'
import { startController } from '../../controller/app.ts'
import { parseConfig } from '../../controller/config.ts'
import type { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import { pod } from './objects.ts'

export { namespace, pod, type PodOptions, service } from './objects.ts'

/** Tokens are `namespace/account/pod/uid`; anything else is not accepted. */
export const acceptTokens = (kube: FakeKube) =>
  kube.hook(({ method, path, body }) => {
    if (method !== 'POST' || !path.endsWith('/tokenreviews')) return undefined
    const { spec } = body as { spec: { token: string; audiences: string[] } }
    const [ns, account, podName, uid] = spec.token.split('/')
    const extra = podName
      ? {
          'authentication.kubernetes.io/pod-name': [podName],
          'authentication.kubernetes.io/pod-uid': [uid ?? ''],
        }
      : {}
    const status =
      ns && account
        ? {
            authenticated: true,
            audiences: spec.audiences,
            user: { username: `system:serviceaccount:${ns}:${account}`, extra },
          }
        : { authenticated: false, error: 'no such token' }
    return { status: 201, body: { metadata: {}, spec, status } }
  })

export const ztunnelToken = 'istio-system/ztunnel/ztunnel-1/uid-of-ztunnel-1'
export const ztunnelPod = pod('istio-system', 'ztunnel-1', {
  account: 'ztunnel',
  ip: '10.244.1.2',
  hbone: false,
})

/** A controller in this process, against a fake API server; and how to reach it. */
export async function controllerFor(kube: FakeKube, env: Record<string, string> = {}) {
  const config = parseConfig({
    XDS_PORT: '0',
    WEBHOOK_PORT: '0',
    MONITORING_PORT: '0',
    READINESS_PORT: '0',
    POD_NAME: 'istiod-1',
    PILOT_DEBOUNCE_AFTER: '5ms',
    ...env,
  })
  const app = await startController(config, kube.client(), silent)
  const root = await until(
    () => kube.read(kinds.ConfigMap, 'istio-ca-root-cert', 'istio-system') !== undefined,
    'root bundle',
  ).then(
    () => kube.read(kinds.ConfigMap, 'istio-ca-root-cert', 'istio-system')?.data?.['root-cert.pem'] ?? '',
  )
  const credentials = ChannelCredentials.createSsl(Buffer.from(root))
  const options = { 'grpc.ssl_target_name_override': 'istiod.istio-system.svc' }
  const address = `127.0.0.1:${app.ports.xds}`
  const get = async (port: number, path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`)
    return { status: response.status, body: await response.text() }
  }
  return {
    app,
    root,
    ads: () => new ads.AggregatedDiscoveryServiceClient(address, credentials, options),
    ca: () => new ca.IstioCertificateServiceClient(address, credentials, options),
    metrics: () => get(app.ports.monitoring, '/metrics').then(({ body }) => body),
    get,
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  }
}
export type Running = Awaited<ReturnType<typeof controllerFor>>

const bearer = (token: string | undefined) => {
  const metadata = new Metadata()
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
  metadata.set('clusterid', 'Kubernetes')
  return metadata
}

export type Received = Readonly<{
  names: readonly string[]
  removed: readonly string[]
  nonce: string
  typeUrl: string
}>
type RequestParts = Partial<ads.DeltaDiscoveryRequest>

/** A delta ADS client that writes what a test tells it to. */
export function adsStream(running: Pick<Running, 'ads'>, token: string | undefined = ztunnelToken) {
  const client = running.ads()
  const call: ClientDuplexStream<ads.DeltaDiscoveryRequest, ads.DeltaDiscoveryResponse> =
    client.deltaAggregatedResources(bearer(token))
  const responses: ads.DeltaDiscoveryResponse[] = []
  const state: { error?: ServiceError } = {}
  call.on('data', (response: ads.DeltaDiscoveryResponse) => responses.push(response))
  call.on('error', (error: ServiceError) => (state.error = error))
  const send = (parts: RequestParts = {}) =>
    call.write({
      node: undefined,
      typeUrl: addressTypeUrl,
      resourceNamesSubscribe: [],
      resourceNamesUnsubscribe: [],
      initialResourceVersions: {},
      responseNonce: '',
      errorDetail: undefined,
      ...parts,
    })
  let read = 0
  return {
    call,
    responses,
    send,
    error: async () => {
      await until(() => state.error !== undefined, 'the stream ends with an error')
      return state.error
    },
    /** The next response, acknowledged unless told otherwise. */
    next: async (ack = true): Promise<ads.DeltaDiscoveryResponse> => {
      await until(() => responses.length > read || state.error !== undefined, 'a response')
      if (responses.length <= read && state.error) throw state.error
      const response = responses[read++]
      if (!response) throw new Error('no response')
      if (ack) send({ typeUrl: response.typeUrl, responseNonce: response.nonce })
      return response
    },
    failed: () => state.error !== undefined,
    unread: () => responses.length - read,
    [Symbol.dispose]: () => {
      call.cancel()
      client.close()
    },
  }
}

export const ztunnelNode: ads.Node = {
  id: 'ztunnel~10.244.1.2~ztunnel-1.istio-system~istio-system.svc.cluster.local',
  cluster: '',
  metadata: { NAME: 'ztunnel-1', NAMESPACE: 'istio-system', NODE_NAME: 'node-1' },
  buildVersion: '',
}

export const names = (response: ads.DeltaDiscoveryResponse) =>
  response.resources.map(({ name }) => name).sort()
export const versions = (response: ads.DeltaDiscoveryResponse) =>
  Object.fromEntries(response.resources.map(({ name, version }) => [name, version]))
export const workloadIn = (response: ads.DeltaDiscoveryResponse, name: string) => {
  const any = response.resources.find((resource) => resource.name === name)?.resource
  const { type } = workload.Address.decode(any?.value ?? Buffer.alloc(0))
  return type?.$case === 'workload' ? type.value : undefined
}

/** Asks for a certificate; resolves to the chain, or to the error. */
export async function certificate(
  running: Running,
  o: Readonly<{ token?: string; identity?: string; csr?: string; seconds?: number }>,
): Promise<{ chain: readonly string[]; error?: ServiceError }> {
  const client = running.ca()
  const id = spiffeId({ trustDomain: 'evil', namespace: 'x', serviceAccount: 'y' }) // what a CSR says does not matter
  const csr = o.csr ?? createCsr({ id, key: generateKeyPair() })
  const metadata = o.identity === undefined ? undefined : { ImpersonatedIdentity: o.identity }
  try {
    return await new Promise((resolve) => {
      client.createCertificate(
        { csr, validityDuration: o.seconds ?? 86_400, metadata },
        bearer(o.token),
        (error, answer) => resolve(error ? { chain: [], error } : { chain: answer.certChain }),
      )
    })
  } finally {
    client.close()
  }
}

export const closed = (call: NodeJS.EventEmitter) => once(call, 'close')
