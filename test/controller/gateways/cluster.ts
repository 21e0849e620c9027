import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { parseAllDocuments } from 'yaml'
import { KubeClient } from '#kube'
import { pkiFiles } from '../../../sandbox/api/auth/index.ts'
import { type Client, eventually, type Parsed } from '../../sandbox/api/harness.ts'

const manifest = (path: string): Parsed[] =>
  parseAllDocuments(readFileSync(new URL(`../../../manifests/${path}`, import.meta.url), 'utf8')).map(
    (document) => document.toJS(),
  )
export const group = '/apis/gateway.networking.k8s.io/v1'
export const gateways = `${group}/namespaces/shop/gateways`
/** The answer's body; fails on any status that is no success. */
export const ok = async (c: Client, method: string, path: string, body?: unknown, type?: string) => {
  const reply = await c.call(method, path, {
    ...(body === undefined ? {} : { body }),
    ...(type === undefined ? {} : { type }),
  })
  assert.ok(reply.status < 300, `${method} ${path}: ${reply.status} ${reply.text}`)
  return reply.body
}

/** A cluster with our CRDs and rights, and the writers with the rights of istiod and no others. */
export async function cluster(c: Client) {
  for (const name of ['istio-system', 'shop'])
    await ok(c, 'POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  for (const crd of manifest('base/crds/gateway-api.yaml'))
    await ok(c, 'POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  for (const account of manifest('istiod/service-account.yaml'))
    await ok(c, 'POST', '/api/v1/namespaces/istio-system/serviceaccounts', account)
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  for (const object of manifest('istiod/rbac.yaml')) {
    const inNamespace = object.metadata.namespace ? '/namespaces/istio-system' : ''
    await ok(c, 'POST', `${rbac}${inNamespace}/${object.kind.toLowerCase()}s`, object)
  }
  await eventually(async () =>
    (await c.call('GET', `${group}/gatewayclasses`)).status === 200 ? true : undefined,
  )
  const { status } = await ok(c, 'POST', '/api/v1/namespaces/istio-system/serviceaccounts/istiod/token', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {},
  })
  return new KubeClient({
    server: new URL(`https://127.0.0.1:${c.server().port}`),
    ca: readFileSync(pkiFiles(c.config).ca.certificate, 'utf8'),
    insecure: false,
    namespace: 'istio-system',
    credentials: () => ({ token: status.token }),
  })
}

/** Server-side apply, as kubectl and istioctl send it. */
export const applyAs = (c: Client, manager: string, path: string, object: unknown) =>
  ok(c, 'PATCH', `${path}?fieldManager=${manager}`, JSON.stringify(object), 'application/apply-patch+yaml')

/** The object, or undefined while there is none. */
export const find = async (c: Client, path: string): Promise<Parsed> => {
  const reply = await c.call('GET', path)
  return reply.status === 200 ? reply.body : undefined
}

export const conditionOf = (object: Parsed, type: string): Parsed =>
  object?.status?.conditions?.find((condition: Parsed) => condition.type === type)
