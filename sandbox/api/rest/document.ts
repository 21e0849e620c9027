import type { IncomingHttpHeaders } from 'node:http'
import {
  aggregated,
  coreVersions,
  type Documents,
  groupDocument,
  groupList,
  groupsOf,
  resourceList,
  serverVersion,
} from '../discovery/index.ts'
import { wantsAggregatedDiscovery } from './accept.ts'
import type { Answer, Api } from './api.ts'
import { noSuchPath } from './refusal.ts'
import type { Route } from './route.ts'

const aggregatedType = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
const healthPaths = ['/healthz', '/livez', '/readyz', '/healthz/ping', '/livez/ping', '/readyz/ping']

/** Answers what is no resource: discovery, OpenAPI, version, health, keys. */
export function answerDocument(
  api: Api,
  documents: Documents,
  route: Exclude<Route, { kind: 'resource' | 'reject' }>,
  headers: IncomingHttpHeaders,
): Answer {
  const kinds = api.kinds.all()
  switch (route.kind) {
    case 'group-version': {
      const list = resourceList(kinds, route.group, route.version)
      return list === undefined ? noSuchPath() : { code: 200, body: list }
    }
    case 'group': {
      const group = groupsOf(kinds).find(({ name }) => name === route.group && name !== '')
      return group === undefined ? noSuchPath() : { code: 200, body: groupDocument(group) }
    }
    case 'path':
      return answerPath(api, documents, route.path, headers)
  }
}

function answerPath(api: Api, documents: Documents, path: string, { accept }: IncomingHttpHeaders): Answer {
  if (healthPaths.includes(path)) return { code: 200, body: 'ok', contentType: 'text/plain; charset=utf-8' }
  switch (path) {
    case '/version':
      return { code: 200, body: serverVersion }
    case '/api':
    case '/apis': {
      const root = path === '/api' ? 'api' : 'apis'
      if (wantsAggregatedDiscovery(accept))
        return { code: 200, body: aggregated(api.kinds.all(), root), contentType: aggregatedType }
      return { code: 200, body: root === 'api' ? coreVersions() : groupList(api.kinds.all()) }
    }
    case '/openapi/v3':
      return { code: 200, body: documents.index() }
    case '/openid/v1/jwks':
      return { code: 200, body: api.authenticator.jwks(), contentType: 'application/jwk-set+json' }
    case '/.well-known/openid-configuration':
      return { code: 200, body: api.authenticator.openidConfiguration() }
    case '/':
      return {
        code: 200,
        body: { paths: ['/api', '/apis', '/healthz', '/livez', '/openapi/v3', '/readyz', '/version'] },
      }
    default:
      return answerOpenApi(documents, path)
  }
}

function answerOpenApi(documents: Documents, path: string): Answer {
  const match = /^\/openapi\/v3\/(?:api\/(v1)|apis\/([^/]+)\/([^/]+))$/.exec(path)
  if (!match) return noSuchPath()
  const [, core, group = '', version = ''] = match
  const text = core === undefined ? documents.groupVersion(group, version) : documents.groupVersion('', core)
  return text === undefined ? noSuchPath() : { code: 200, body: text, contentType: 'application/json' }
}
