import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { isRecord } from '#base'
import { type Cluster, KubeClient, type KubeObject, keyOf, type Kind, kinds, pathOf } from '#kube'

type Stored = KubeObject & Record<string, unknown>
type Event = Readonly<{
  collection: string
  version: number
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  object: Stored
}>
type Watch = Readonly<{ target: Target; response: ServerResponse }>
type Target = Readonly<{
  /** `/api/v1/pods`: the path without the namespace. */
  collection: string
  namespace: string | undefined
  name: string | undefined
  subresource: string | undefined
}>
/** Answers a request in place of the store; undefined leaves it to the store. */
type Hook = (
  request: Readonly<{ method: string; path: string; body: unknown }>,
) => { status: number; body: unknown } | undefined

/**
 * A small API server in memory, for tests: any kind by its path; list with paging, watch with bookmarks and 410, create,
 * replace with conflict, merge patch, apply (as a merge), delete, status subresource. No schemas, no authorisation.
 */
export class FakeKube implements AsyncDisposable {
  readonly #server = createServer((request, response) => void this.#answer(request, response))
  readonly #objects = new Map<string, Map<string, Stored>>()
  readonly #watches = new Set<Watch>()
  #events: Event[] = []
  #version = 100
  #oldest = 0
  readonly #clients: KubeClient[] = []
  readonly #hooks: Hook[] = []
  /** `GET /api/v1/pods?watch=1…` of every request so far. */
  readonly requests: string[] = []
  /** Objects per page; small values exercise paging. */
  pageSize = 500
  /** Watches that are to begin with what exists: told, refused, or not known to be asked for. */
  watchList: 'told' | 'refused' | 'unknown' = 'told'
  /** So many of those end before they have said that this was all. */
  breakStreams = 0

  static async start(...objects: readonly (KubeObject & Record<string, unknown>)[]): Promise<FakeKube> {
    const fake = new FakeKube()
    for (const object of objects) fake.put(object)
    fake.#server.listen(0, '127.0.0.1')
    await once(fake.#server, 'listening')
    return fake
  }

  get cluster(): Cluster {
    const address = this.#server.address()
    const port = isRecord(address) ? address['port'] : 0
    return {
      server: new URL(`http://127.0.0.1:${String(port)}`),
      insecure: false,
      namespace: 'default',
      credentials: () => ({ token: 'test' }),
    }
  }

  client(): KubeClient {
    const client = new KubeClient(this.cluster)
    this.#clients.push(client)
    return client
  }

  /** Adds or replaces an object, as somebody else's write would. */
  put(object: KubeObject & Record<string, unknown>): Stored {
    return this.#store(collectionOf(object), keyOf(object), object)
  }

  /** Removes an object; false when there is none. */
  remove(kind: Kind, name: string, namespace?: string): boolean {
    return this.#drop(pathOf(kind), namespace === undefined ? name : `${namespace}/${name}`) !== undefined
  }

  read<T extends KubeObject>(kind: Kind<T>, name: string, namespace?: string): T | undefined {
    const key = namespace === undefined ? name : `${namespace}/${name}`
    return this.#objects.get(pathOf(kind))?.get(key) as T | undefined
  }

  all<T extends KubeObject>(kind: Kind<T>): readonly T[] {
    return [...(this.#objects.get(pathOf(kind))?.values() ?? [])] as unknown as T[]
  }

  /** Answers requests before the store sees them; for TokenReview, for faults. */
  hook(hook: Hook): Disposable {
    this.#hooks.push(hook)
    return { [Symbol.dispose]: () => void this.#hooks.splice(this.#hooks.indexOf(hook), 1) }
  }

  /** Breaks every open watch, as a restarted API server would. */
  breakWatches(): void {
    for (const { response } of this.#watches) response.destroy()
  }

  /** Ends every open watch after what it has been sent, as an API server does when their time is over. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end()
    this.#watches.clear()
  }

  /** From now on open watches hear nothing, as when the other end has lost power; new ones do. */
  muteWatches(): void {
    this.#watches.clear()
  }

  /** Forgets the past: watches from before now are answered with 410. */
  compact(): void {
    this.#events = []
    this.#oldest = this.#version
  }

  /** Moves time on without a change, and tells the watchers. */
  bookmark(): number {
    this.#version++
    for (const watch of this.#watches) {
      const object = { metadata: { resourceVersion: String(this.#version) } }
      watch.response.write(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`)
    }
    return this.#version
  }

  /** Open watches. */
  get watching(): number {
    return this.#watches.size
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client[Symbol.dispose]()
    this.#server.closeAllConnections()
    await new Promise((done) => this.#server.close(done))
  }

  #store(collection: string, key: string, object: KubeObject & Record<string, unknown>): Stored {
    const objects = this.#objects.get(collection) ?? new Map<string, Stored>()
    this.#objects.set(collection, objects)
    const before = objects.get(key)
    const { uid, creationTimestamp } = before?.metadata ?? {}
    const version = ++this.#version
    const stored: Stored = {
      ...object,
      metadata: {
        uid: uid ?? `uid-${version}`,
        creationTimestamp: creationTimestamp ?? '2026-01-01T00:00:00Z',
        ...object.metadata,
        resourceVersion: String(version),
      },
    }
    objects.set(key, stored)
    this.#emit({ collection, version, type: before ? 'MODIFIED' : 'ADDED', object: stored })
    return stored
  }

  #drop(collection: string, key: string): Stored | undefined {
    const objects = this.#objects.get(collection)
    const before = objects?.get(key)
    if (!objects || !before) return undefined
    objects.delete(key)
    const version = ++this.#version
    const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } }
    this.#emit({ collection, version, type: 'DELETED', object })
    return object
  }

  #emit(event: Event): void {
    this.#events.push(event)
    for (const watch of this.#watches) if (isFor(watch.target, event)) send(watch, event)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://fake')
    const method = request.method ?? ''
    this.requests.push(`${method} ${url.pathname}${url.search}`)
    try {
      const body = await readBody(request)
      for (const hook of this.#hooks) {
        const answer = hook({ method, path: url.pathname, body })
        if (answer) return reply(response, answer.status, answer.body)
      }
      const target = targetOf(url.pathname)
      if (!target) return reply(response, 404, status(404, 'NotFound', url.pathname))
      if (method === 'GET' && url.searchParams.has('watch')) return this.#watch(target, url, response)
      const answer = this.#handle(method, target, url, body, request.headers['content-type'] ?? '')
      reply(response, answer.status, answer.body)
    } catch (error) {
      reply(response, 500, status(500, 'InternalError', String(error)))
    }
  }

  #handle(method: string, target: Target, url: URL, body: unknown, contentType: string) {
    const { collection, namespace, name, subresource } = target
    if (method === 'POST' && url.searchParams.get('dryRun') === 'All') return { status: 201, body }
    if (name === undefined) return method === 'POST' ? this.#create(target, body) : this.#list(target, url)
    const key = namespace === undefined ? name : `${namespace}/${name}`
    const before = this.#objects.get(collection)?.get(key)
    const given = isRecord(body) ? body : {}
    if (method === 'PATCH' && url.searchParams.get('dryRun') === 'All') return { status: 200, body: given }
    if (method === 'PATCH' && !before && contentType.includes('apply-patch') && subresource === undefined)
      return { status: 201, body: this.#store(collection, key, asObject(given)) }
    if (!before) return notFound(key)
    switch (method) {
      case 'GET':
        return { status: 200, body: before }
      case 'DELETE':
        return { status: 200, body: this.#drop(collection, key) }
      case 'PATCH': {
        const patched = merge(before, part(given, subresource))
        return { status: 200, body: this.#store(collection, key, asObject(patched)) }
      }
      case 'PUT': {
        const { resourceVersion } = asObject(given).metadata
        if (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion)
          return { status: 409, body: status(409, 'Conflict', `${key} was changed meanwhile`) }
        const next = subresource === undefined ? given : { ...before, [subresource]: given[subresource] }
        return { status: 200, body: this.#store(collection, key, asObject(next)) }
      }
      default:
        return { status: 405, body: status(405, 'MethodNotAllowed', method) }
    }
  }

  #create({ collection, namespace }: Target, body: unknown) {
    const object = asObject(isRecord(body) ? body : {})
    const metadata = namespace === undefined ? object.metadata : { ...object.metadata, namespace }
    const key = keyOf({ metadata })
    if (this.#objects.get(collection)?.has(key))
      return { status: 409, body: status(409, 'AlreadyExists', `${key} already exists`) }
    return { status: 201, body: this.#store(collection, key, { ...object, metadata }) }
  }

  #list(target: Target, url: URL) {
    const matching = [...(this.#objects.get(target.collection)?.values() ?? [])]
      .filter(({ metadata }) => target.namespace === undefined || metadata.namespace === target.namespace)
      .filter((object) => isSelected(object, url.searchParams))
    const from = Number(url.searchParams.get('continue') ?? 0)
    const to = from + this.pageSize
    const more = to < matching.length ? { continue: String(to) } : {}
    const items = matching.slice(from, to)
    return {
      status: 200,
      body: { kind: 'List', metadata: { resourceVersion: String(this.#version), ...more }, items },
    }
  }

  /** What exists, as a watch tells it, and that this was all. */
  #tell(watch: Watch, url: URL): void {
    const all = [...(this.#objects.get(watch.target.collection)?.values() ?? [])]
    for (const object of all)
      if (
        isFor(watch.target, { collection: watch.target.collection, object }) &&
        isSelected(object, url.searchParams)
      )
        send(watch, { type: 'ADDED', object })
    if (this.breakStreams > 0) {
      this.breakStreams--
      watch.response.end()
      return
    }
    const metadata = { resourceVersion: String(this.#version), annotations: initialEnd }
    send(watch, { type: 'BOOKMARK', object: { metadata } })
  }

  #watch(target: Target, url: URL, response: ServerResponse): void {
    const initial = url.searchParams.has('sendInitialEvents') && this.watchList !== 'unknown'
    if (initial && this.watchList === 'refused')
      return reply(response, 422, status(422, 'Invalid', 'no WatchList'))
    const from = initial ? this.#version : Number(url.searchParams.get('resourceVersion') ?? 0)
    if (from < this.#oldest) return reply(response, 410, status(410, 'Expired', `too old: ${from}`))
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    const watch = { target, response }
    this.#watches.add(watch)
    response.on('close', () => this.#watches.delete(watch))
    if (initial) this.#tell(watch, url)
    for (const event of this.#events) if (event.version > from && isFor(target, event)) send(watch, event)
  }
}

const initialEnd = { 'k8s.io/initial-events-end': 'true' }

const send = ({ response }: Watch, { type, object }: { type: string; object: unknown }) =>
  void response.write(`${JSON.stringify({ type, object })}\n`)

const isFor = ({ collection, namespace }: Target, event: Pick<Event, 'collection' | 'object'>) =>
  event.collection === collection &&
  (namespace === undefined || event.object.metadata.namespace === namespace)

/** `key=value` and `key` label selectors and `metadata.name=` / `spec.nodeName=` field selectors, which is all that we use. */
function isSelected(object: Stored, query: URLSearchParams): boolean {
  const labels = (query.get('labelSelector') ?? '').split(',').filter(Boolean)
  const fields = (query.get('fieldSelector') ?? '').split(',').filter(Boolean)
  const at = (path: string) =>
    path.split('.').reduce<unknown>((value, key) => (isRecord(value) ? value[key] : undefined), object)
  return (
    labels.every((pair) => {
      const [key = '', value] = pair.split('=')
      const own = object.metadata.labels?.[key]
      return value === undefined ? own !== undefined : own === value
    }) && fields.every((pair) => at(pair.split('=')[0] ?? '') === pair.split('=')[1])
  )
}

function targetOf(path: string): Target | undefined {
  const match = /^(\/api\/[^/]+|\/apis\/[^/]+\/[^/]+)\/(.+)$/.exec(path)
  const [, root, rest = ''] = match ?? []
  if (root === undefined) return undefined
  const parts = rest.split('/').map(decodeURIComponent)
  if (parts[0] === 'namespaces' && parts.length > 2 && !['status', 'finalize'].includes(parts[2] ?? '')) {
    const [, namespace, plural = '', name, subresource] = parts
    return { collection: `${root}/${plural}`, namespace, name, subresource }
  }
  const [plural = '', name, subresource] = parts
  return { collection: `${root}/${plural}`, namespace: undefined, name, subresource }
}

function collectionOf({ apiVersion, kind }: KubeObject): string {
  const known = Object.values<Kind>(kinds).find((k) => k.kind === kind && k.apiVersion === apiVersion)
  if (!known) throw new RangeError(`FakeKube does not know ${apiVersion} ${kind}`)
  return pathOf(known)
}

/** RFC 7386. */
function merge(into: unknown, patch: unknown): Record<string, unknown> {
  const result: Record<string, unknown> = isRecord(into) ? { ...into } : {}
  for (const [key, value] of Object.entries(isRecord(patch) ? patch : {})) {
    if (value === null) delete result[key]
    else result[key] = isRecord(value) ? merge(result[key], value) : value
  }
  return result
}

/** A patch of a subresource changes nothing else, except that `pods/status` may carry annotations and labels. */
const part = (patch: Record<string, unknown>, subresource: string | undefined) =>
  subresource === undefined
    ? patch
    : {
        ...(patch['metadata'] ? { metadata: patch['metadata'] } : {}),
        [subresource]: patch[subresource] ?? {},
      }

const asObject = (value: Record<string, unknown>): Stored => ({
  ...value,
  metadata: isRecord(value['metadata']) ? value['metadata'] : {},
})

const status = (code: number, reason: string, message: string) => ({
  kind: 'Status',
  status: 'Failure',
  code,
  reason,
  message,
})
const notFound = (key: string) => ({ status: 404, body: status(404, 'NotFound', `${key} not found`) })

function reply(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString('utf8')
  return text === '' ? undefined : JSON.parse(text)
}
