import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { messageOf } from '#base'
import type { Documents } from '../discovery/index.ts'
import { negotiate } from './accept.ts'
import { attributesOf, identify, isWatch, permit } from './access.ts'
import type { Answer, Api, ApiRequest, Target } from './api.ts'
import { readBody } from './body.ts'
import { answerDocument } from './document.ts'
import { resourceOf } from './kinds.ts'
import { badRequest, isRefusal, noSuchPath, type Refusal, refuse } from './refusal.ts'
import { reviewedWrite } from '../webhooks/index.ts'
import { answerResource } from './resource.ts'
import { respond, transform } from './respond.ts'
import { parseRoute, type Route } from './route.ts'
import { kubeletOf, proxyLog, proxyUpgrade, rawRefusal, upgradeSubresources } from './stream.ts'
import { handleWatch } from './watch-request.ts'

/** Watches at one time, over all clients: some hundred controllers' worth. */
const maxWatches = 4_096

export type Handler = Readonly<{
  request: (message: IncomingMessage, response: ServerResponse) => void
  upgrade: (message: IncomingMessage, client: Duplex, head: Buffer) => void
}>

type Server = Readonly<{ api: Api; documents: Documents; signal: AbortSignal; watches: { open: number } }>

/** All that happens between a request and its answer. Nothing that a client sends makes it throw. */
export function handler(api: Api, documents: Documents, signal: AbortSignal): Handler {
  const server: Server = { api, documents, signal, watches: { open: 0 } }
  return {
    request: (message, response) => {
      response.on('error', () => response.destroy())
      answer(server, message, response).catch((error: unknown) => {
        if (!message.destroyed) api.log.error('request failed', { path: message.url, error: describe(error) })
        respond(response, refuse(500, 'InternalError', `Internal error occurred: ${messageOf(error)}`))
      })
    },
    upgrade: (message, client, head) => {
      client.on('error', () => client.destroy())
      try {
        const refusal = upgrade(server, message, client, head)
        if (refusal !== undefined) client.end(rawRefusal(refusal))
      } catch (error) {
        api.log.error('upgrade failed', { path: message.url, error: describe(error) })
        client.destroy()
      }
    },
  }
}

const describe = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error)

type Opened = Readonly<{
  route: Exclude<Route, { kind: 'reject' }>
  path: string
  query: URLSearchParams
  user: ApiRequest['user']
}>

/** Parses the path, finds out who asks and whether they may. */
function open({ api }: Server, message: IncomingMessage): Opened | Refusal {
  const [path, search] = splitUrl(message.url ?? '/')
  const route = parseRoute(path)
  if (route.kind === 'reject') return badRequest(route.reason)
  const query = new URLSearchParams(search)
  const user = identify(api, message)
  if (isRefusal(user)) return user
  const refused = permit(api, user, attributesOf(route, message.method ?? 'GET', path, query))
  return refused ?? { route, path, query, user }
}

function splitUrl(url: string): readonly [path: string, search: string] {
  const mark = url.indexOf('?')
  return mark < 0 ? [url, ''] : [url.slice(0, mark), url.slice(mark + 1)]
}

async function answer(server: Server, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const opened = open(server, message)
  if (isRefusal(opened)) return respond(response, opened)
  const body = await readBody(message, server.signal)
  if (isRefusal(body)) return refuseRest(message, response, body)
  const { route, path, query, user } = opened
  const { method = 'GET', headers } = message
  const { api, documents } = server
  if (route.kind !== 'resource') {
    const found =
      method === 'GET' || method === 'HEAD' ? answerDocument(api, documents, route, headers) : noSuchPath()
    return respond(response, found)
  }
  const target = targetFor(api, route)
  if (isRefusal(target)) return respond(response, target)
  const request: ApiRequest = { method, path, query, headers, user, body }
  await answerTarget(server, request, target, response)
}

/** A body that is too large is not read on: the connection cannot be used again. */
function refuseRest(message: IncomingMessage, response: ServerResponse, refusal: Refusal): void {
  response.setHeader('connection', 'close')
  respond(response, refusal)
  response.once('finish', () => message.destroy())
}

function targetFor(api: Api, route: Extract<Route, { kind: 'resource' }>): Target | Refusal {
  const { group, version, plural, namespace, name, subresource } = route
  const kind = api.kinds.find(group, version, plural)
  return kind === undefined
    ? noSuchPath()
    : { kind, resource: resourceOf(kind), namespace, name, subresource }
}

async function answerTarget(
  server: Server,
  request: ApiRequest,
  target: Target,
  response: ServerResponse,
): Promise<void> {
  const { api, signal } = server
  const { method, query, headers } = request
  if (target.resource === 'pods' && target.subresource === 'log' && method === 'GET')
    return respondTo(response, await podLog(api, query, target, response, signal))
  if (
    target.subresource !== undefined &&
    upgradeSubresources.includes(target.subresource) &&
    target.resource === 'pods'
  )
    return respond(response, badRequest('Upgrade request required'))
  const accept = negotiate(headers.accept)
  if (accept.kind === 'not-acceptable')
    return respond(
      response,
      refuse(
        406,
        'NotAcceptable',
        'only the following media types are accepted: application/json, application/yaml',
      ),
    )
  if (method === 'GET' && isWatch(query) && target.subresource === undefined && !target.kind.virtual)
    return respondTo(response, watch(server, request, target, accept, response))
  const write = (asked: ApiRequest) => answerResource(api, asked, target)
  const reply: Answer = await reviewedWrite(api, request, target, write, signal)
  respond(response, transform(api, request, target, reply, accept), accept)
}

const respondTo = (response: ServerResponse, refusal: Refusal | undefined): void => {
  if (refusal !== undefined) respond(response, refusal)
}

function watch(
  { api, signal, watches }: Server,
  request: ApiRequest,
  target: Target,
  accept: Extract<ReturnType<typeof negotiate>, { kind: 'accepted' }>,
  response: ServerResponse,
): Refusal | undefined {
  // The client went while its request was read: nothing would end the watch before its time.
  if (response.destroyed) return undefined
  if (watches.open >= maxWatches)
    return refuse(429, 'TooManyRequests', 'too many watches', { retryAfterSeconds: 5 })
  const refusal = handleWatch(api, request, target, accept, response, signal)
  if (refusal !== undefined) return refusal
  watches.open++
  response.once('close', () => watches.open--)
  return undefined
}

async function podLog(
  api: Api,
  query: URLSearchParams,
  target: Target,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  const kubelet = kubeletOf(api, target, query)
  return isRefusal(kubelet) ? kubelet : proxyLog(kubelet, response, signal)
}

function upgrade(
  server: Server,
  message: IncomingMessage,
  client: Duplex,
  head: Buffer,
): Refusal | undefined {
  const opened = open(server, message)
  if (isRefusal(opened)) return opened
  const { route, query } = opened
  if (route.kind !== 'resource') return badRequest('this path takes no upgrade')
  const target = targetFor(server.api, route)
  if (isRefusal(target)) return target
  if (target.resource !== 'pods' || !upgradeSubresources.includes(target.subresource ?? ''))
    return badRequest('this path takes no upgrade')
  const kubelet = kubeletOf(server.api, target, query)
  if (isRefusal(kubelet)) return kubelet
  proxyUpgrade(kubelet, message, client, head, server.signal)
  return undefined
}
