import { status } from '@grpc/grpc-js'
import { Registry, silent } from '#telemetry'
import { addressTypeUrl, type ads, authorizationTypeUrl } from '#wire'
import { xdsMetrics } from '../../../controller/xds/metrics.ts'
import { SendBudget } from '../../../controller/xds/send-budget.ts'
import type { Outgoing } from '../../../controller/xds/service.ts'
import { type Resource, Snapshot } from '../../../controller/xds/snapshot.ts'
import { AdsStream } from '../../../controller/xds/stream.ts'

/**
 * Plays a recorded scenario: commands, `----`, what came of them, an empty line. Returns the same text with what really
 * came of them. Words:
 *
 *     publish wds a@1 b(key,key)@2:70k   exactly these exist now; 70k is a resource of that size
 *     open c [slow] [pod=p]              a client connects; a slow one reads only when told to
 *     c wds sub:x unsub:y has:a@1 node:n ack nack:why stale
 *                                        a request; `has` is what it brings along, `ack` answers the last response
 *     c reads | c closes
 *     c status                           per type the nonces sent and acknowledged, and the last error
 *     budget                             what is on its way for all clients, and who waits
 *
 * `c wds#2 +a@1 -b` is a response with its nonce, `c ! CODE words` the end of a stream.
 */
export function play(text: string, limitKib = 64 << 10): string {
  const scene = new Scene(limitKib << 10)
  const blocks = text.trim().split(/\n\n+/)
  return `${blocks.map((block) => scene.block(block)).join('\n\n')}\n`
}

const urls: Readonly<Record<string, string>> = { wds: addressTypeUrl, wads: authorizationTypeUrl }
const shortOf = (url: string) => Object.entries(urls).find(([, each]) => each === url)?.[0] ?? url

type Client = { stream: AdsStream; slow: boolean; unread: (() => void)[]; nonces: Map<string, string> }

class Scene {
  readonly #views = new Map(Object.values(urls).map((url) => [url, new Snapshot()]))
  readonly #clients = new Map<string, Client>()
  readonly #metrics = xdsMetrics(new Registry())
  readonly #budget: SendBudget
  #out: string[] = []

  constructor(limitBytes: number) {
    this.#budget = new SendBudget(limitBytes)
  }

  block(block: string): string {
    const [commands = ''] = block.split('\n----')
    const lines = commands.split('\n')
    if (lines.every((line) => line.startsWith('#'))) return block
    this.#out = []
    for (const line of lines) if (!line.startsWith('#')) this.#run(line.split(/\s+/).filter(Boolean))
    return `${commands}\n----\n${this.#out.length > 0 ? this.#out.join('\n') : '-'}`
  }

  #run([verb = '', ...words]: readonly string[]): void {
    if (verb === 'publish') return this.#publish(urls[words[0] ?? ''] ?? '', words.slice(1))
    if (verb === 'open') return this.#open(words[0] ?? '', words.slice(1))
    if (verb === 'budget')
      return void this.#out.push(
        `${Math.round(this.#budget.used / 1024)}k on their way, ${this.#budget.waiting} waiting`,
      )
    const client = this.#clients.get(verb)
    if (!client) throw new Error(`no such client: ${verb}`)
    if (words[0] === 'reads') return client.unread.shift()?.()
    if (words[0] === 'closes') return client.stream.end()
    if (words[0] === 'status') return this.#status(verb, client)
    client.stream.take(requestOf(words, client.nonces))
  }

  #status(name: string, { stream }: Client): void {
    for (const [url, { sent, acked, lastError }] of stream.status('').types)
      this.#out.push(`${name} ${shortOf(url)} sent=${sent} acked=${acked} error=${lastError}`)
  }

  #publish(url: string, words: readonly string[]): void {
    const view = this.#views.get(url)
    const next = new Map(words.map((word) => resource(url, word)).map((r) => [r.name, r]))
    const names = view?.publish([...view.names(), ...next.keys()], (name) => next.get(name)) ?? []
    if (names.length > 0) for (const { stream } of this.#clients.values()) stream.published(url, names)
  }

  #open(name: string, words: readonly string[]): void {
    const pod = words.find((word) => word.startsWith('pod='))?.slice(4) ?? name
    const client: Omit<Client, 'stream'> = { slow: words.includes('slow'), unread: [], nonces: new Map() }
    const outlet = {
      write: (response: Outgoing, taken: () => void) => {
        client.nonces.set(response.typeUrl, response.nonce)
        this.#out.push(`${name} ${show(response)}`)
        if (client.slow) client.unread.push(taken)
        else taken()
      },
      end: (refusal?: { code: status; details: string }) =>
        void this.#out.push(`${name} ! ${refusal ? `${status[refusal.code]} ${refusal.details}` : 'closed'}`),
    }
    const stream = new AdsStream(outlet, {
      views: this.#views,
      caller: { namespace: 'istio-system', serviceAccount: 'ztunnel', pod: { name: pod, uid: pod } },
      referredTo: [authorizationTypeUrl],
      nodeKey: (node) => `node:${node}`,
      budget: this.#budget,
      sendTimeoutMs: 5_000,
      log: silent,
      metrics: this.#metrics,
    })
    this.#clients.set(name, Object.assign(client, { stream }))
  }

  [Symbol.dispose](): void {
    for (const { stream } of this.#clients.values()) stream.end()
  }
}

function show({ typeUrl, nonce, resources, removed }: Outgoing): string {
  const words = [...resources.map((r) => `+${r.name}@${r.version}`), ...removed.map((name) => `-${name}`)]
  return [`${shortOf(typeUrl)}#${nonce}`, ...(words.length > 0 ? words : ['nothing'])].join(' ')
}

function resource(typeUrl: string, text: string): Resource {
  const [, name = '', keys = '', version = '', kib = '0'] =
    /^([^(@]+)(?:\(([^)]*)\))?@([^:]+)(?::(\d+)k)?$/.exec(text) ?? []
  const value = Buffer.alloc(Number(kib) << 10)
  return {
    name,
    version,
    aliases: [],
    keys: [name, ...keys.split(',').filter(Boolean)],
    any: { typeUrl, value },
  }
}

function requestOf(
  [type = '', ...words]: readonly string[],
  nonces: ReadonlyMap<string, string>,
): ads.DeltaDiscoveryRequest {
  const typeUrl = urls[type] ?? type
  const all = (prefix: string) =>
    words.filter((w) => w.startsWith(`${prefix}:`)).map((w) => w.slice(prefix.length + 1))
  const [error] = all('nack')
  const [node] = all('node')
  const [namespace] = all('namespace')
  const answers = words.includes('ack') || error !== undefined
  const metadata = { ...(node ? { NODE_NAME: node } : {}), ...(namespace ? { NAMESPACE: namespace } : {}) }
  return {
    node: node || namespace ? { id: 'ztunnel', cluster: '', metadata, buildVersion: '' } : undefined,
    typeUrl,
    resourceNamesSubscribe: all('sub'),
    resourceNamesUnsubscribe: all('unsub'),
    initialResourceVersions: Object.fromEntries(all('has').map((w) => w.split('@'))),
    responseNonce: answers ? (nonces.get(typeUrl) ?? '') : words.includes('stale') ? 'older' : '',
    errorDetail: error === undefined ? undefined : { code: 0, message: error, details: [] },
  }
}
