import { ChannelCredentials, Client, type ClientDuplexStream, Metadata } from '@grpc/grpc-js'
import { addressTypeUrl, ads, authorizationTypeUrl } from '#wire'
import { nowMs } from './orders.ts'
import { scan, type Scanned } from './scan.ts'

export type ClientOptions = Readonly<{
  number: number
  port: number
  rootPem: string
  node: string
  /** Keys to ask for; undefined for everything. */
  keys: readonly string[] | undefined
  /** Called for each response, when the books are up to date. */
  heard: (client: DeltaClient, response: Scanned) => void
}>

const types = [addressTypeUrl, authorizationTypeUrl]
const { path, requestSerialize } = ads.AggregatedDiscoveryServiceService.deltaAggregatedResources
/** Between attempts to get in. */
const retryMs = 250

/** One ztunnel as the controller sees it: a connection and a token of its own, every response acknowledged at once. */
export class DeltaClient {
  /** Name → version, of all types. */
  readonly held: Map<string, string>
  /** By type: what was answered on this stream. */
  readonly answered = new Set<string>()
  syncedMs = 0
  responses = 0
  receivedBytes = 0
  readonly #options: ClientOptions
  readonly #client: Client
  #call: ClientDuplexStream<ads.DeltaDiscoveryRequest, Scanned> | undefined
  #closed = false

  /** `held` is what it has from an earlier stream. */
  constructor(options: ClientOptions, held: ReadonlyMap<string, string>) {
    this.held = new Map(held)
    this.#options = options
    this.#client = new Client(
      `127.0.0.1:${options.port}`,
      ChannelCredentials.createSsl(Buffer.from(options.rootPem)),
      {
        'grpc.ssl_target_name_override': 'istiod.istio-system.svc',
        'grpc.use_local_subchannel_pool': 1,
        'grpc.max_receive_message_length': 1 << 30,
        'grpc.initial_reconnect_backoff_ms': retryMs,
        'grpc.max_reconnect_backoff_ms': retryMs,
      },
    )
    this.#open()
  }

  close(): void {
    this.#closed = true
    this.#call?.cancel()
    this.#client.close()
  }

  #open(): void {
    const { number, node } = this.#options
    const metadata = new Metadata({ waitForReady: true })
    metadata.set('authorization', `Bearer istio-system/ztunnel/ztunnel-${number}/uid-of-ztunnel-${number}`)
    metadata.set('clusterid', 'Kubernetes')
    const call = this.#client.makeBidiStreamRequest(path, requestSerialize, scan, metadata)
    this.#call = call
    call.on('data', (response: Scanned) => this.#take(call, response))
    call.on('error', () => {
      if (!this.#closed) setTimeout(() => this.#open(), retryMs)
    })
    for (const typeUrl of types) this.#subscribe(call, typeUrl, node)
  }

  #subscribe(
    call: ClientDuplexStream<ads.DeltaDiscoveryRequest, Scanned>,
    typeUrl: string,
    node: string,
  ): void {
    const { number, keys } = this.#options
    const onDemand = keys !== undefined && typeUrl === addressTypeUrl
    const isOfType = ([name]: readonly [string, string]) => isAddress(name) === (typeUrl === addressTypeUrl)
    call.write({
      ...blank,
      node: {
        id: `ztunnel~10.0.0.${number}~ztunnel-${number}.istio-system~istio-system.svc.cluster.local`,
        cluster: '',
        metadata: {
          NAME: `ztunnel-${number}`,
          NAMESPACE: 'istio-system',
          NODE_NAME: node,
          CLUSTER_ID: 'Kubernetes',
        },
        buildVersion: '',
      },
      typeUrl,
      resourceNamesSubscribe: onDemand ? ['*', ...keys] : [],
      resourceNamesUnsubscribe: onDemand ? ['*'] : [],
      initialResourceVersions: Object.fromEntries([...this.held].filter(isOfType)),
    })
  }

  #take(call: ClientDuplexStream<ads.DeltaDiscoveryRequest, Scanned>, response: Scanned): void {
    const { typeUrl, nonce, resources, removed } = response
    call.write({ ...blank, node: undefined, typeUrl, responseNonce: nonce })
    for (let i = 0; i < resources.length; i += 2)
      this.held.set(interned(resources[i]), interned(resources[i + 1]))
    for (const name of removed) this.held.delete(name)
    this.responses++
    this.receivedBytes += response.bytes
    this.answered.add(typeUrl)
    if (this.answered.size === types.length && this.syncedMs === 0) this.syncedMs = nowMs()
    this.#options.heard(this, response)
  }
}

/** Policies are named `namespace/name`; workloads have more parts, and hosts have dots. */
const isAddress = (name: string) => name.split('/').length > 2 || name.includes('.')

const blank: ads.DeltaDiscoveryRequest = {
  node: undefined,
  typeUrl: '',
  resourceNamesSubscribe: [],
  resourceNamesUnsubscribe: [],
  initialResourceVersions: {},
  responseNonce: '',
  errorDetail: undefined,
}

/** All clients hold the same words; one copy of each is enough. */
const words = new Map<string, string>()
function interned(word = ''): string {
  const known = words.get(word)
  if (known !== undefined) return known
  words.set(word, word)
  return word
}
