import grpc from '@grpc/grpc-js'
import type { SpiffeId } from '#identity'
import { ads, ca as wire } from '#wire'
import type { TestCa } from '../../test/fakes/test-ca.ts'

/** Type URL → name → payload. */
export type Mesh = Readonly<Record<string, Readonly<Record<string, { bytes: Uint8Array }>>>>
type Stream = grpc.ServerDuplexStream<ads.DeltaDiscoveryRequest, ads.DeltaDiscoveryResponse>
type Signing = grpc.ServerUnaryCall<wire.IstioCertificateRequest, wire.IstioCertificateResponse>
type Signed = grpc.sendUnaryData<wire.IstioCertificateResponse>

/** What a waypoint needs from a control plane: a mesh that does not change, and its certificate. */
type Control = Disposable &
  Readonly<{
    port: number
    /** Resolves when everything that was asked for has been acknowledged; rejects for what is not. */
    settled(): Promise<void>
  }>

export async function startControl(ca: TestCa, mesh: Mesh, id: SpiffeId): Promise<Control> {
  const server = new grpc.Server({ 'grpc.max_send_message_length': -1 })
  const waiting = new Set<string>(Object.keys(mesh))
  const settled = Promise.withResolvers<void>()
  const onRequest = (stream: Stream, { typeUrl, responseNonce, errorDetail }: ads.DeltaDiscoveryRequest) => {
    if (errorDetail) return settled.reject(new Error(`${typeUrl}: ${errorDetail.message}`))
    if (responseNonce === '') return stream.write(responseOf(typeUrl, mesh[typeUrl] ?? {}))
    waiting.delete(typeUrl)
    if (waiting.size === 0) settled.resolve()
  }
  server.addService(ads.AggregatedDiscoveryServiceService, {
    deltaAggregatedResources: (stream: Stream) => {
      stream.on('error', () => undefined)
      stream.on('data', (request: ads.DeltaDiscoveryRequest) => onRequest(stream, request))
      stream.on('end', () => stream.end())
    },
  })
  server.addService(wire.IstioCertificateServiceService, {
    createCertificate: ({ request }: Signing, done: Signed) =>
      done(null, { certChain: ca.sign(request.csr, id) }),
  })
  const { certPem, keyPem } = ca.server()
  const credentials = grpc.ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) },
  ])
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound))),
  )
  return {
    port,
    settled: () => settled.promise,
    [Symbol.dispose]: () => server.forceShutdown(),
  }
}

const responseOf = (typeUrl: string, resources: Mesh[string]): ads.DeltaDiscoveryResponse => ({
  systemVersionInfo: '',
  typeUrl,
  nonce: typeUrl,
  removedResources: [],
  resources: Object.entries(resources).map(([name, { bytes }]) => ({
    name,
    version: '1',
    aliases: [],
    ttl: undefined,
    resource: { typeUrl, value: Buffer.from(bytes) },
  })),
})
