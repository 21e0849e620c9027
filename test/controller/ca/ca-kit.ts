import { ChannelCredentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { createRoot, generateKeyPair, privateKeyPem } from '#identity'
import { type Logger, Registry, silent } from '#telemetry'
import { ca } from '#wire'
import {
  type Authority,
  authorityFrom,
  type Caller,
  callersFirst,
  caMetrics,
  certificateService,
  type PodFacts,
  type Recheck,
  servingCertificate,
} from '../../../controller/ca/index.ts'
import { closeServer, listen, newGrpcServer, RenewableCredentials } from '../../../controller/grpc.ts'

const dayMs = 24 * 3600_000
const encode = (text: string) => Buffer.from(text).toString('base64')

/** A Secret as the API server gives it. */
export const secret = (name: string, data: Record<string, string>) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: 'istio-system' },
  data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, encode(text)])),
})

const authority = (): Authority => {
  const root = createRoot({ organization: 'cluster.local', validityMs: 30 * dayMs })
  return authorityFrom(secret('istio-ca-secret', { 'ca-cert.pem': root.certPem, 'ca-key.pem': root.keyPem }))
}

const ztunnel: Caller = {
  namespace: 'istio-system',
  serviceAccount: 'ztunnel',
  pod: { name: 'ztunnel-1', uid: 'z1' },
}
const order: Caller = {
  namespace: 'shop',
  serviceAccount: 'order',
  pod: { name: 'order-1', uid: 'o1' },
}
const tokens = new Map([
  ['ztunnel', ztunnel],
  ['order', order],
])

type CaOptions = Readonly<{
  authority?: () => Authority
  pods?: () => readonly PodFacts[]
  mayAsk?: () => boolean
  recheck?: (node: string) => Promise<Recheck>
  log?: Logger
}>

/** The certificate service on a port of its own; the tokens `ztunnel` and `order` are good. */
export async function serveCa(o: CaOptions = {}) {
  const fixed = authority()
  const current = o.authority ?? (() => fixed)
  const registry = new Registry()
  const authenticate = async (metadata: Metadata) => {
    const [token] = metadata.get('authorization')
    const caller = tokens.get(String(token).replace('Bearer ', ''))
    return caller
      ? { kind: 'caller' as const, ...caller }
      : { kind: 'refused' as const, reason: 'token not accepted', later: false }
  }
  const pods = () => o.pods?.() ?? []
  const options = {
    authority: current,
    authenticate,
    mayAsk: o.mayAsk ?? (() => true),
    world: {
      trustDomain: 'cluster.local',
      trustedAccounts: new Set(['istio-system/ztunnel']),
      podNamed: (namespace: string, name: string) =>
        namespace === 'istio-system' && name === 'ztunnel-1'
          ? { uid: 'z1', namespace, serviceAccount: 'ztunnel', node: 'n1', terminal: false }
          : undefined,
      podsOnNode: (node: string) => pods().filter((pod) => pod.node === node),
      recheck: o.recheck ?? (async () => ({ kind: 'not-needed' as const })),
    },
    log: o.log ?? silent,
    metrics: caMetrics(registry),
  }
  const keys = generateKeyPair()
  const { chainPem } = servingCertificate(current(), keys.publicKey, { dns: ['ca.test'] })
  const server = newGrpcServer([callersFirst(options)])
  server.addService(ca.IstioCertificateServiceService, certificateService(options))
  const credentials = new RenewableCredentials({ keyPem: privateKeyPem(keys.privateKey), chainPem })
  const port = await listen(server, 0, credentials)
  const client = new ca.IstioCertificateServiceClient(
    `127.0.0.1:${port}`,
    ChannelCredentials.createSsl(Buffer.from(current().rootPem)),
    { 'grpc.ssl_target_name_override': 'ca.test' },
  )
  return {
    ask: (
      request: Partial<ca.IstioCertificateRequest>,
      token = 'order',
    ): Promise<{ chain: readonly string[]; error?: ServiceError }> =>
      new Promise((resolve) => {
        const metadata = new Metadata()
        metadata.set('authorization', `Bearer ${token}`)
        client.createCertificate(
          { csr: '', validityDuration: 3600, metadata: undefined, ...request },
          metadata,
          (error, answer) => resolve(error ? { chain: [], error } : { chain: answer.certChain }),
        )
      }),
    metrics: () => registry.metrics(),
    [Symbol.asyncDispose]: async () => {
      client.close()
      await closeServer(server)
    },
  }
}
