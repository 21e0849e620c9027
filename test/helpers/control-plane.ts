import grpc from '@grpc/grpc-js'
import { type SpiffeId, parseSpiffeId } from '#identity'
import { ads, ca as wire } from '#wire'
import type { TestCa } from '../fakes/test-ca.ts'

export type Resources = Readonly<Record<string, { version?: string; bytes: Uint8Array }>>
type Call = grpc.ServerDuplexStream<ads.DeltaDiscoveryRequest, ads.DeltaDiscoveryResponse>
type Signing = grpc.ServerUnaryCall<wire.IstioCertificateRequest, wire.IstioCertificateResponse>
type Signed = grpc.sendUnaryData<wire.IstioCertificateResponse>

/** One subscriber, with what it has said of our responses. */
type Subscriber = { readonly call: Call; readonly types: Set<string>; readonly waiting: Set<string> }

/** What a whole ztunnel needs from a control plane, on one port: delta ADS for any number of nodes, and a CA. */
export class ControlPlane {
  readonly #server = new grpc.Server({ 'grpc.max_send_message_length': -1 })
  readonly #ca: TestCa
  readonly #resources = new Map<string, Map<string, Uint8Array>>()
  readonly #subscribers = new Set<Subscriber>()
  #nonce = 0
  /** What was not accepted: the reasons. */
  readonly nacks: string[] = []
  /** Certificates that were asked for. */
  signed = 0
  /** True: the CA refuses. */
  caDown = false
  /** How much later than now certificates begin and end. */
  skewMs = 0
  /** Who asks for itself: a waypoint. */
  caller: SpiffeId | undefined
  port = 0

  constructor(ca: TestCa) {
    this.#ca = ca
  }

  static async start(ca: TestCa, port = 0): Promise<ControlPlane> {
    const plane = new ControlPlane(ca)
    const { certPem, keyPem } = ca.server()
    const credentials = grpc.ServerCredentials.createSsl(null, [
      { cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) },
    ])
    plane.#server.addService(ads.AggregatedDiscoveryServiceService, {
      deltaAggregatedResources: (call: Call) => plane.#onStream(call),
    })
    plane.#server.addService(wire.IstioCertificateServiceService, {
      createCertificate: (call: Signing, done: Signed) => plane.#sign(call, done),
    })
    plane.port = await new Promise((resolve, reject) =>
      plane.#server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    )
    return plane
  }

  get subscribers(): number {
    return this.#subscribers.size
  }

  /** Changes the world, and tells those who have asked for this type. */
  push(typeUrl: string, upserts: Resources, removed: readonly string[] = []): void {
    const known = this.#of(typeUrl)
    for (const [name, { bytes }] of Object.entries(upserts)) known.set(name, bytes)
    for (const name of removed) known.delete(name)
    const changed = Object.entries(upserts).map(([name, { bytes }]) => [name, bytes] as const)
    for (const one of this.#subscribers)
      if (one.types.has(typeUrl)) this.#send(one, typeUrl, changed, removed)
  }

  /** True when everybody has answered everything. */
  get settled(): boolean {
    return [...this.#subscribers].every(({ waiting }) => waiting.size === 0)
  }

  /** Resolves when all that was pushed has been answered. */
  async answered(ms = 20_000): Promise<void> {
    const deadline = Date.now() + ms
    while (!this.settled) {
      if (Date.now() > deadline) throw new Error('a push was not answered')
      await new Promise((done) => setTimeout(done, 2))
    }
  }

  [Symbol.dispose](): void {
    this.#server.forceShutdown()
  }

  #of(typeUrl: string): Map<string, Uint8Array> {
    const known = this.#resources.get(typeUrl) ?? new Map<string, Uint8Array>()
    this.#resources.set(typeUrl, known)
    return known
  }

  #onStream(call: Call): void {
    const one: Subscriber = { call, types: new Set(), waiting: new Set() }
    this.#subscribers.add(one)
    const gone = () => void this.#subscribers.delete(one)
    call.on('error', gone)
    call.on('close', gone)
    call.on('cancelled', gone)
    call.on('end', () => call.end())
    call.on('data', (request: ads.DeltaDiscoveryRequest) => {
      one.waiting.delete(request.responseNonce)
      if (request.errorDetail) this.nacks.push(request.errorDetail.message)
      if (one.types.has(request.typeUrl)) return
      one.types.add(request.typeUrl)
      this.#send(one, request.typeUrl, [...this.#of(request.typeUrl)], [])
    })
  }

  #send(
    { call, waiting }: Subscriber,
    typeUrl: string,
    changed: readonly (readonly [string, Uint8Array])[],
    removed: readonly string[],
  ): void {
    const nonce = `${++this.#nonce}`
    waiting.add(nonce)
    const resources = changed.map(([name, bytes]) => ({
      name,
      version: nonce,
      aliases: [],
      ttl: undefined,
      resource: { typeUrl, value: Buffer.from(bytes) },
    }))
    call.write({ systemVersionInfo: '', resources, typeUrl, nonce, removedResources: [...removed] })
  }

  #sign({ request }: Signing, done: Signed): void {
    this.signed++
    const wanted: unknown = request.metadata?.['ImpersonatedIdentity']
    const id: SpiffeId | undefined = typeof wanted === 'string' ? parseSpiffeId(wanted) : this.caller
    if (this.caDown || id === undefined) return done({ code: grpc.status.UNAVAILABLE, details: 'down' })
    done(null, { certChain: this.#ca.sign(request.csr, id) })
  }
}
