import { isRecord } from '#base'
import type { Cluster } from './cluster.ts'
import { type Kind, kinds, pathOf, type Ref } from './kinds.ts'
import { errorFromStatus, isStatus, KubeError } from './kube-error.ts'
import { lineSplitter } from './lines.ts'
import type { KubeObject } from './objects.ts'
import { type Method, type Query, transport, type Transport } from './transport.ts'

/** Which objects of a kind. */
export type Selection = Readonly<{
  namespace?: string | undefined
  labelSelector?: string | undefined
  fieldSelector?: string | undefined
}>

/** A part of a list. */
export type Page<T> = Readonly<{ items: readonly T[]; resourceVersion: string; continue: string }>

/** What a watch tells. */
export type WatchEvent<T> =
  | Readonly<{ type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: T }>
  /** `initialEnd`: what existed when a watch with `initial` began has been told. */
  | Readonly<{ type: 'BOOKMARK'; resourceVersion: string; initialEnd: boolean }>
  | Readonly<{ type: 'ERROR'; error: KubeError }>

type RequestOptions = Readonly<{ query?: Query; contentType?: string; signal?: AbortSignal }>
type ApplyOptions = Readonly<{
  fieldManager: string
  force?: boolean
  /** Only asks whether it would be taken. */
  dryRun?: boolean
  subresource?: string
  signal?: AbortSignal
}>
type WriteOptions = Readonly<{ subresource?: string; fieldManager?: string; signal?: AbortSignal }>

/** Objects per page of a list, as client-go asks for. */
const pageSize = 500
const forever = new AbortController().signal
/** Enough for every log line of a busy minute. */
const maxLogBytes = 16 << 20

type Shared = Readonly<{ transport?: Transport; mayWrite?: () => boolean }>

/** Typed requests to one API server. Every failure is a KubeError, or the reason of the caller's signal. */
export class KubeClient implements Disposable {
  readonly cluster: Cluster
  readonly #transport: Transport
  readonly #mayWrite: () => boolean
  constructor(cluster: Cluster, shared: Shared = {}) {
    this.cluster = cluster
    this.#transport = shared.transport ?? transport(cluster)
    this.#mayWrite = shared.mayWrite ?? (() => true)
  }

  /** The same connections, for somebody who may write only while this says so; it is asked right before each write. */
  writingWhile(mayWrite: () => boolean): KubeClient {
    return new KubeClient(this.cluster, { transport: this.#transport, mayWrite })
  }

  /** Any request; the answer as parsed JSON. */
  request(method: Method, path: string, body?: unknown, options: RequestOptions = {}): Promise<unknown> {
    const { query, contentType, signal = forever } = options
    if (method !== 'GET' && !this.#mayWrite())
      return Promise.reject(new KubeError(0, 'Fenced', `${method} ${path}: not ours to write any more`))
    return this.#transport.json({ method, path, query, body, contentType, signal })
  }

  async get<T extends KubeObject>(ref: Ref<T>, signal = forever): Promise<T> {
    return object<T>(await this.request('GET', pathOf(ref.kind, ref), undefined, { signal }))
  }

  /** `get`, but an object that does not exist is undefined. */
  async find<T extends KubeObject>(ref: Ref<T>, signal = forever): Promise<T | undefined> {
    return this.get(ref, signal).catch((error: unknown) => {
      if (isStatus(error, 404)) return undefined
      throw error
    })
  }

  /** All pages of a list, with the version to watch from. */
  async list<T extends KubeObject>(kind: Kind<T>, selection: Selection = {}, signal = forever) {
    const items: T[] = []
    let next = ''
    for (;;) {
      const page = await this.page(kind, selection, next, signal)
      items.push(...page.items)
      if (page.continue === '') return { items, resourceVersion: page.resourceVersion }
      next = page.continue
    }
  }

  /** One page of a list. */
  async page<T extends KubeObject>(
    kind: Kind<T>,
    selection: Selection,
    from = '',
    signal = forever,
  ): Promise<Page<T>> {
    const { namespace, labelSelector, fieldSelector } = selection
    const query = {
      labelSelector,
      fieldSelector,
      limit: pageSize,
      ...(from === '' ? {} : { continue: from }),
    }
    return pageOf<T>(
      kind,
      await this.request('GET', pathOf(kind, { namespace }), undefined, { query, signal }),
    )
  }

  async create<T extends KubeObject>(kind: Kind<T>, body: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = body.metadata
    const at =
      options.subresource === undefined
        ? { namespace }
        : { namespace, name, subresource: options.subresource }
    return object<T>(await this.request('POST', pathOf(kind, at), typed(kind, body), write(options)))
  }

  /** Replaces an object; with a resourceVersion in it, only if it is still that version (409 otherwise). */
  async update<T extends KubeObject>(kind: Kind<T>, body: T, options: WriteOptions = {}): Promise<T> {
    const path = pathOf(kind, { ...body.metadata, subresource: options.subresource })
    return object<T>(await this.request('PUT', path, typed(kind, body), write(options)))
  }

  async mergePatch<T extends KubeObject>(
    ref: Ref<T>,
    patch: unknown,
    options: WriteOptions = {},
  ): Promise<T> {
    const path = pathOf(ref.kind, { ...ref, subresource: options.subresource })
    const contentType = 'application/merge-patch+json'
    return object<T>(await this.request('PATCH', path, patch, { ...write(options), contentType }))
  }

  /** Server-side apply. */
  async apply<T extends KubeObject>(kind: Kind<T>, body: T, options: ApplyOptions): Promise<T> {
    const { fieldManager, force = false, dryRun = false, subresource, signal = forever } = options
    const path = pathOf(kind, { ...body.metadata, subresource })
    const contentType = 'application/apply-patch+yaml'
    const query = { fieldManager, force, ...(dryRun ? { dryRun: 'All' } : {}) }
    return object<T>(await this.request('PATCH', path, typed(kind, body), { contentType, query, signal }))
  }

  /** Deletes an object; true when it was there. */
  async delete(ref: Ref, options: Readonly<{ body?: unknown; signal?: AbortSignal }> = {}): Promise<boolean> {
    const { body, signal = forever } = options
    try {
      await this.request('DELETE', pathOf(ref.kind, ref), body, { signal })
      return true
    } catch (error) {
      if (isStatus(error, 404)) return false
      throw error
    }
  }

  /**
   * Events after `resourceVersion`, in the batches they arrive in. Ends when the server ends it. `initial`: first what
   * exists, then a bookmark that says so (Kubernetes' WatchList); servers that do not offer it refuse, or never say so.
   */
  async *watch<T extends KubeObject>(
    kind: Kind<T>,
    options: Selection &
      Readonly<{ resourceVersion: string; timeoutSeconds: number; signal: AbortSignal; initial?: boolean }>,
  ): AsyncGenerator<readonly WatchEvent<T>[]> {
    const { namespace, labelSelector, fieldSelector, resourceVersion, timeoutSeconds, signal } = options
    const initial =
      options.initial === true ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' } : {}
    const query = {
      labelSelector,
      fieldSelector,
      resourceVersion,
      timeoutSeconds,
      watch: 1,
      allowWatchBookmarks: true,
      ...initial,
    }
    const body = await this.#transport.stream({
      method: 'GET',
      path: pathOf(kind, { namespace }),
      query,
      signal,
    })
    try {
      const split = lineSplitter()
      for await (const chunk of body as AsyncIterable<Buffer>) {
        yield split(chunk).map((line) => eventOf<T>(kind, line))
      }
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof KubeError) throw error
      throw new KubeError(0, '', `watch of ${kind.plural} broke`, error)
    } finally {
      body.destroy()
    }
  }

  /** What a pod's first container logged, at most `maxLogBytes` of it. */
  async logs(
    { namespace, name }: Readonly<{ namespace: string; name: string }>,
    query: Readonly<{ tailLines?: number; sinceSeconds?: number; container?: string }> = {},
    signal = forever,
  ): Promise<string> {
    const path = pathOf(kinds.Pod, { namespace, name, subresource: 'log' })
    const limited = { ...query, limitBytes: maxLogBytes }
    const body = await this.#transport.stream({ method: 'GET', path, query: limited, signal })
    const chunks: Buffer[] = []
    for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk)
    return Buffer.concat(chunks).toString('utf8')
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]()
  }
}

const write = ({ fieldManager, signal = forever }: WriteOptions) => ({ query: { fieldManager }, signal })

const typed = <T extends KubeObject>({ apiVersion, kind }: Kind<T>, body: T) => ({
  ...body,
  apiVersion,
  kind,
})

/**
 * The edge where JSON becomes a row. The API server vouches for the shape of its built-in kinds; for custom ones only
 * the metadata is typed (`Custom`), and the reader of `spec` parses it.
 */
function object<T extends KubeObject>(value: unknown): T {
  if (!isRecord(value)) throw new KubeError(0, '', 'answer is not an object')
  return (isRecord(value['metadata']) ? value : { ...value, metadata: {} }) as unknown as T
}

/** Items of a list carry no apiVersion and kind of their own. */
function pageOf<T extends KubeObject>({ apiVersion, kind }: Kind<T>, body: unknown): Page<T> {
  const list = isRecord(body) ? body : {}
  const meta = isRecord(list['metadata']) ? list['metadata'] : {}
  const items: unknown = list['items'] ?? []
  if (!Array.isArray(items)) throw new KubeError(0, '', `list of ${kind}: items is not an array`)
  return {
    items: items.map((item) => ({ ...object<T>(item), apiVersion, kind })),
    resourceVersion: textIn(meta, 'resourceVersion'),
    continue: textIn(meta, 'continue'),
  }
}

function eventOf<T extends KubeObject>(kind: Kind<T>, line: string): WatchEvent<T> {
  let event: unknown
  try {
    event = JSON.parse(line)
  } catch (cause) {
    throw new KubeError(0, '', `watch of ${kind.plural}: a line is not JSON`, cause)
  }
  const { type, object: value } = isRecord(event) ? event : {}
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type, object: object<T>(value) }
    case 'BOOKMARK': {
      const { resourceVersion = '', annotations } = object<T>(value).metadata
      return { type, resourceVersion, initialEnd: annotations?.['k8s.io/initial-events-end'] === 'true' }
    }
    case 'ERROR': {
      const code = isRecord(value) && typeof value['code'] === 'number' ? value['code'] : 500
      return { type, error: errorFromStatus(code, value) }
    }
    default:
      throw new KubeError(0, '', `watch of ${kind.plural}: unknown event`)
  }
}

const textIn = (from: Record<string, unknown>, key: string) =>
  typeof from[key] === 'string' ? from[key] : ''
