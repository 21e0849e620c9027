import grpc from '@grpc/grpc-js'
import { ads } from '#wire'
import type { TestCa } from './test-ca.ts'

type FakeStream = Readonly<{
  metadata: grpc.Metadata
  send(
    typeUrl: string,
    upserts: Readonly<Record<string, { version?: string; bytes: Uint8Array }>>,
    removed?: string[],
  ): void
  end(): void
  fail(code: grpc.status): void
}>

/** A delta ADS server that keeps what it was told as lines of text, and answers only when a test says so. */
export class FakeXds {
  readonly #server = new grpc.Server()
  readonly #streams: FakeStream[] = []
  readonly #waiters = new Set<() => void>()
  #nonce = 0
  /** One line per request: `Address init {…}`, `Address ack 1`, `Address nack 2 reason`. */
  readonly lines: string[] = []
  readonly requests: ads.DeltaDiscoveryRequest[] = []
  port = 0

  static async start(ca: TestCa): Promise<FakeXds> {
    const fake = new FakeXds()
    const { certPem, keyPem } = ca.server()
    const credentials = grpc.ServerCredentials.createSsl(null, [
      { cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) },
    ])
    fake.#server.addService(ads.AggregatedDiscoveryServiceService, {
      deltaAggregatedResources: (call: Call) => fake.#onStream(call),
    })
    await fake.listen(0, credentials)
    return fake
  }

  async listen(port: number, credentials: grpc.ServerCredentials): Promise<void> {
    this.port = await new Promise((resolve, reject) =>
      this.#server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    )
  }

  get address(): string {
    return `localhost:${this.port}`
  }

  /** The newest stream, when at least `n` have been opened. */
  async stream(n = 1): Promise<FakeStream> {
    await this.until(() => this.#streams.length >= n)
    const stream = this.#streams.at(-1)
    if (!stream) throw new Error('no stream')
    return stream
  }

  /** Waits until `lines` satisfy a condition. */
  async until(condition: () => boolean, ms = 20_000): Promise<void> {
    const deadline = AbortSignal.timeout(ms)
    while (!condition()) {
      if (deadline.aborted) throw new Error(`never happened; saw:\n${this.lines.join('\n')}`)
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiters.add(resolve)
      deadline.addEventListener('abort', () => resolve(), { once: true })
      await promise
      this.#waiters.delete(resolve)
    }
  }

  [Symbol.dispose](): void {
    this.#server.forceShutdown()
  }

  #wake(): void {
    for (const wake of this.#waiters) wake()
  }

  #onStream(call: Call): void {
    call.on('error', () => undefined)
    call.on('data', (request: ads.DeltaDiscoveryRequest) => {
      this.requests.push(request)
      this.lines.push(lineOf(request))
      this.#wake()
    })
    call.on('end', () => call.end())
    this.#streams.push({
      metadata: call.metadata,
      send: (typeUrl, upserts, removed = []) => {
        const resources = Object.entries(upserts).map(([name, { version = '', bytes }]) => ({
          name,
          version,
          aliases: [],
          ttl: undefined,
          resource: { typeUrl, value: Buffer.from(bytes) },
        }))
        const nonce = `${++this.#nonce}`
        call.write({ systemVersionInfo: '', resources, typeUrl, nonce, removedResources: removed })
      },
      end: () => call.end(),
      fail: (code) => call.emit('error', { code, details: 'as the test wants it' }),
    })
    this.#wake()
  }
}

type Call = grpc.ServerDuplexStream<ads.DeltaDiscoveryRequest, ads.DeltaDiscoveryResponse>

function lineOf(request: ads.DeltaDiscoveryRequest): string {
  const type = request.typeUrl.split('.').at(-1)
  if (request.responseNonce === '')
    return `${type} init ${JSON.stringify(request.initialResourceVersions)} node=${request.node?.id ?? '-'} subscribe=[${request.resourceNamesSubscribe.join()}]`
  if (request.errorDetail) return `${type} nack ${request.responseNonce} ${request.errorDetail.message}`
  return `${type} ack ${request.responseNonce} node=${request.node?.id ?? '-'}`
}
