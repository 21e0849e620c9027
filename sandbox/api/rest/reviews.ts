import {
  rulesReview,
  selfSubjectAccessReview,
  subjectAccessReview,
  type TokenBinding,
  userInfo,
} from '../auth/index.ts'
import { type Answer, type Api, type ApiRequest, subjectOf, type Target, uidLookup } from './api.ts'
import { decodeObject } from './body.ts'
import { at, type KubeObject, listAt, numberAt, recordAt, textAt, timestamp } from './object.ts'
import { badRequest, invalid, isRefusal, notFound, type Refusal } from './refusal.ts'
import { find } from './write.ts'

type Review = (
  api: Api,
  request: ApiRequest,
  body: Readonly<Record<string, unknown>>,
  target: Target,
) => object | Refusal

const authentication = 'authentication.k8s.io'
const authorization = 'authorization.k8s.io'

/** The kinds that are questions: `spec` in, `status` out, nothing stored. */
const reviews: Readonly<Record<string, Review>> = {
  [`tokenreviews.${authentication}`]: (api, _request, body) => tokenReview(api, body),
  [`selfsubjectreviews.${authentication}`]: (_api, { user }) => ({ userInfo: userInfo(user) }),
  [`subjectaccessreviews.${authorization}`]: (api, _request, body, { kind }) =>
    orInvalid(kind, subjectAccessReview(recordAt(body, 'spec'), api.rbac)),
  [`localsubjectaccessreviews.${authorization}`]: (api, _request, body, { kind, namespace }) => {
    if (textAt(body, 'spec', 'resourceAttributes', 'namespace') !== namespace)
      return badRequest('spec.resourceAttributes.namespace must be the namespace of the request')
    return orInvalid(kind, subjectAccessReview(recordAt(body, 'spec'), api.rbac))
  },
  [`selfsubjectaccessreviews.${authorization}`]: (api, { user }, body, { kind }) =>
    orInvalid(kind, selfSubjectAccessReview(user, recordAt(body, 'spec'), api.rbac)),
  [`selfsubjectrulesreviews.${authorization}`]: (api, { user }, body) =>
    rulesReview(user, textAt(body, 'spec', 'namespace') ?? '', api.rbac),
}

function orInvalid(kind: Target['kind'], outcome: object): object | Refusal {
  if (!('reject' in outcome)) return outcome
  return invalid(kind, '', [{ reason: 'FieldValueInvalid', field: 'spec', message: String(outcome.reject) }])
}

/** POST to a review kind. */
export function handleReview(api: Api, request: ApiRequest, target: Target): Answer {
  const body = decodeObject(request.body, request.headers['content-type'])
  if (isRefusal(body)) return body
  const review = reviews[target.resource]
  if (review === undefined) return notFound(subjectOf(target))
  const status = review(api, request, body, target)
  if (isRefusal(status)) return status
  const metadata = { ...recordAt(body, 'metadata'), creationTimestamp: timestamp(api.now()) }
  const apiVersion = `${target.kind.group}/${target.kind.version}`
  return { code: 201, body: { ...body, apiVersion, kind: target.kind.kind, metadata, status } }
}

function tokenReview(api: Api, body: Readonly<Record<string, unknown>>): object | Refusal {
  const token = textAt(body, 'spec', 'token') ?? ''
  if (token === '') return badRequest('token is required for TokenReview in authentication')
  const audiences = listAt(body, 'spec', 'audiences').map(String)
  const verdict = api.authenticator.reviewToken(token, audiences, uidLookup(api.store))
  return verdict.kind === 'valid'
    ? { authenticated: true, user: userInfo(verdict.user), audiences: verdict.audiences }
    : { user: {}, error: verdict.reason }
}

/** POST serviceaccounts/x/token. */
export function handleTokenRequest(api: Api, request: ApiRequest, target: Target): Answer {
  const body = decodeObject(request.body, request.headers['content-type'])
  if (isRefusal(body)) return body
  const account = find(api, target)
  if (isRefusal(account)) return account
  const binding = bindingOf(api, account, body)
  if (isRefusal(binding)) return binding
  const expirationSeconds = numberAt(body, 'spec', 'expirationSeconds')
  const audiences = listAt(body, 'spec', 'audiences').map(String)
  const spec = { audiences, ...(expirationSeconds === undefined ? {} : { expirationSeconds }) }
  const { namespace = '', name = '', uid = '' } = account.metadata
  const issued = api.authenticator.issueToken(spec, { namespace, name, uid }, binding)
  if ('reject' in issued)
    return invalid({ group: authentication, kind: 'TokenRequest' }, name, [
      { reason: 'FieldValueInvalid', field: 'spec', message: issued.reject },
    ])
  return {
    code: 201,
    body: {
      apiVersion: `${authentication}/v1`,
      kind: 'TokenRequest',
      metadata: { name, namespace, creationTimestamp: timestamp(api.now()) },
      spec: { ...recordAt(body, 'spec'), audiences, expirationSeconds: expirationSeconds ?? 3600 },
      status: issued,
    },
  }
}

/** What the token is to be bound to must exist, be of the asked uid, and a pod must run as this very account. */
function bindingOf(
  api: Api,
  account: KubeObject,
  body: Readonly<Record<string, unknown>>,
): TokenBinding | undefined | Refusal {
  const reference = at(body, 'spec', 'boundObjectRef')
  const kind = textAt(reference, 'kind')
  if (kind === undefined || kind === '') return undefined
  const plural = { Pod: 'pods', Secret: 'secrets', Node: 'nodes' }[kind]
  if (plural === undefined || (kind !== 'Pod' && kind !== 'Secret' && kind !== 'Node'))
    return badRequest(`cannot bind token to object of kind ${kind}`)
  const name = textAt(reference, 'name') ?? ''
  const found = api.store.get(plural, kind === 'Node' ? '' : (account.metadata.namespace ?? ''), name)
  if (found === undefined) return notFound({ group: '', plural, name })
  const uid = found.metadata.uid ?? ''
  const wanted = textAt(reference, 'uid') ?? ''
  if (wanted !== '' && wanted !== uid)
    return badRequest(
      `the UID in the bound object reference (${wanted}) does not match the UID in record (${uid})`,
    )
  if (kind !== 'Pod') return { kind, name, uid }
  if ((textAt(found, 'spec', 'serviceAccountName') ?? '') !== account.metadata.name)
    return badRequest(
      `cannot bind token for serviceaccount "${account.metadata.name ?? ''}" to pod running with different serviceaccount name.`,
    )
  const nodeName = textAt(found, 'spec', 'nodeName') ?? ''
  const node = nodeName === '' ? undefined : api.store.get('nodes', '', nodeName)
  if (node === undefined) return { kind, name, uid }
  return { kind, name, uid, node: { name: nodeName, uid: node.metadata.uid ?? '' } }
}
