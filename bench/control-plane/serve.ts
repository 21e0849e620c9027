import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { isRecord } from '#base'
import type { Stored } from './mesh.ts'
import type { Row, Store } from './store.ts'

type Target = Readonly<{ collection: string; namespace: string; name: string; subresource: string }>

/** The part of the Kubernetes API that the controller uses, without schemas and rights. Resolves to its port. */
export async function serveStore(store: Store): Promise<number> {
  const server = createServer((request, response) => {
    answer(store, request, response).catch((error: unknown) => fail(response, 500, String(error)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  setInterval(() => store.bookmark(), 10_000)
  const address = server.address()
  return isRecord(address) ? Number(address['port']) : 0
}

async function answer(store: Store, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://api')
  const target = targetOf(url.pathname)
  if (!target) return fail(response, 404, url.pathname)
  const { collection, name, namespace } = target
  if (request.method === 'GET' && name === '') {
    const from = Number(url.searchParams.get('resourceVersion') ?? 0)
    if (!url.searchParams.has('watch')) return reply(response, 200, list(store, target, url))
    // As API servers without WatchList do; then everything is listed by pages, which is what the figures were taken with.
    if (url.searchParams.has('sendInitialEvents')) return fail(response, 422, 'Invalid')
    if (!store.watch(collection, from, response)) fail(response, 410, 'Expired')
    return
  }
  const body = await bodyOf(request)
  if (collection.endsWith('/tokenreviews')) return reply(response, 201, JSON.stringify(reviewed(body)))
  const key = namespace === '' ? name : `${namespace}/${name}`
  const before = store.get(collection, key)
  switch (request.method) {
    case 'POST': {
      const made = objectFrom(body, namespace)
      const taken = store.get(collection, `${namespace}/${made.metadata.name}`)
      if (taken) return fail(response, 409, 'AlreadyExists')
      return reply(response, 201, JSON.stringify(store.put(made, collection)))
    }
    case 'PUT':
      if (!before) return fail(response, 404, key)
      return reply(response, 200, JSON.stringify(store.put(objectFrom(body, namespace), collection)))
    case 'PATCH': {
      const merged = {
        ...before,
        ...(isRecord(body) ? body : {}),
        metadata: { ...before?.metadata, namespace, name },
      }
      return reply(response, 200, JSON.stringify(store.put(merged, collection)))
    }
    default:
      return before ? reply(response, 200, JSON.stringify(before)) : fail(response, 404, key)
  }
}

function list(store: Store, { collection, namespace }: Target, { searchParams }: URL): string {
  const fields = (searchParams.get('fieldSelector') ?? '').split(',').filter(Boolean)
  const wanted = fields.map((field) => field.split('='))
  const accept = (row: Row) =>
    (namespace === '' || row.namespace === namespace) &&
    wanted.every(([path, value]) => path !== 'metadata.name' || row.name === value)
  const limit = Number(searchParams.get('limit') ?? 0) || Infinity
  return store.page(collection, accept, Number(searchParams.get('continue') ?? 0), limit)
}

/** Tokens are `namespace/account/pod/uid`. */
function reviewed(body: unknown) {
  const spec = isRecord(body) && isRecord(body['spec']) ? body['spec'] : {}
  const [namespace, account, pod = '', uid = ''] = String(spec['token']).split('/')
  const extra = {
    'authentication.kubernetes.io/pod-name': [pod],
    'authentication.kubernetes.io/pod-uid': [uid],
  }
  const user = { username: `system:serviceaccount:${namespace}:${account}`, extra }
  return { metadata: {}, spec, status: { authenticated: true, audiences: spec['audiences'], user } }
}

function targetOf(path: string): Target | undefined {
  const [, root, rest = ''] = /^(\/api\/[^/]+|\/apis\/[^/]+\/[^/]+)\/(.+)$/.exec(path) ?? []
  if (root === undefined) return undefined
  const parts = rest.split('/').map(decodeURIComponent)
  const inNamespace = parts[0] === 'namespaces' && parts.length > 2 && parts[2] !== 'status'
  const [namespace = '', plural = '', name = '', subresource = ''] = inNamespace
    ? parts.slice(1)
    : ['', ...parts]
  return { collection: `${root}/${plural}`, namespace, name, subresource }
}

function objectFrom(body: unknown, namespace: string): Stored {
  const object = isRecord(body) ? body : {}
  const metadata = isRecord(object['metadata']) ? object['metadata'] : {}
  return { ...object, metadata: { ...metadata, ...(namespace === '' ? {} : { namespace }) } }
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString('utf8')
  return text === '' ? undefined : JSON.parse(text)
}

const reply = (response: ServerResponse, code: number, json: string) =>
  void response.writeHead(code, { 'content-type': 'application/json' }).end(json)
const fail = (response: ServerResponse, code: number, message: string) =>
  reply(response, code, JSON.stringify({ kind: 'Status', status: 'Failure', code, reason: message, message }))
