import { generateKeyPairSync, sign, X509Certificate } from 'node:crypto'
import { ChannelCredentials, Metadata, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { createCsr, generateKeyPair, spiffeId } from '#identity'
import { silent } from '#telemetry'
import { ca as wire } from '#wire'
import { startController } from '../../controller/app.ts'
import { parseConfig } from '../../controller/config.ts'
import { type Client, eventually, startServer } from '../sandbox/api/harness.ts'
import { cluster, ok } from './gateways/cluster.ts'

// Tokens as a Kubernetes API server issues and reviews them, from the first byte to the certificate.

t.setTimeout(120_000)
const idOf = (namespace: string, serviceAccount: string) =>
  spiffeId({ trustDomain: 'cluster.local', namespace, serviceAccount })
const system = '/api/v1/namespaces/istio-system'

const makePod = (c: Client, namespace: string, name: string, node: string, account = name) =>
  ok(c, 'POST', `/api/v1/namespaces/${namespace}/pods`, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: { nodeName: node, serviceAccountName: account, containers: [{ name: 'c', image: 'x:1' }] },
  })
const makeAccount = (c: Client, namespace: string, name: string) =>
  ok(c, 'POST', `/api/v1/namespaces/${namespace}/serviceaccounts`, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, namespace },
  })

type Wanted = Readonly<{ audiences?: readonly string[]; pod?: string; seconds?: number }>
async function tokenOf(c: Client, namespace: string, account: string, o: Wanted = {}): Promise<string> {
  const pod = o.pod && (await ok(c, 'GET', `/api/v1/namespaces/${namespace}/pods/${o.pod}`))
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`
  const answer = await ok(c, 'POST', path, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {
      audiences: o.audiences ?? ['istio-ca'],
      expirationSeconds: o.seconds ?? 3600,
      ...(pod
        ? { boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: o.pod, uid: pod.metadata.uid } }
        : {}),
    },
  })
  return answer.status.token
}

/** A cluster of two nodes, each with a ztunnel and a pod, and a controller that knows it. */
async function openWorld(t: Test) {
  const clock = { aheadMs: 0 }
  const c = await startServer({ now: () => Date.now() + clock.aheadMs })
  t.teardown(() => c[Symbol.asyncDispose]())
  const client = await cluster(c)
  t.teardown(() => client[Symbol.dispose]())
  for (const [namespace, account] of [
    ['istio-system', 'ztunnel'],
    ['shop', 'ztunnel'],
    ['shop', 'order'],
    ['shop', 'far'],
  ] as const)
    await makeAccount(c, namespace, account)
  await makePod(c, 'istio-system', 'ztunnel-1', 'node-1', 'ztunnel')
  await makePod(c, 'istio-system', 'ztunnel-2', 'node-2', 'ztunnel')
  await makePod(c, 'shop', 'ztunnel', 'node-1')
  await makePod(c, 'shop', 'order', 'node-1')
  await makePod(c, 'shop', 'far', 'node-2')
  const ports = { XDS_PORT: '0', WEBHOOK_PORT: '0', MONITORING_PORT: '0', READINESS_PORT: '0' }
  const app = await startController(parseConfig({ ...ports, POD_NAME: 'istiod-1' }), client, silent)
  t.teardown(() => app[Symbol.asyncDispose]())
  const root: string = await eventually(async () => {
    const reply = await c.call('GET', `${system}/configmaps/istio-ca-root-cert`)
    return reply.status === 200 ? reply.body.data['root-cert.pem'] : undefined
  })
  const ca = new wire.IstioCertificateServiceClient(
    `127.0.0.1:${app.ports.xds}`,
    ChannelCredentials.createSsl(Buffer.from(root)),
    { 'grpc.ssl_target_name_override': 'istiod.istio-system.svc' },
  )
  t.teardown(() => ca.close())
  /** The identity that is given, or the code of the refusal. */
  const ask = (token: string | undefined, identity?: string): Promise<string> => {
    const metadata = new Metadata()
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
    const csr = createCsr({ id: idOf('x', 'y'), key: generateKeyPair() })
    const request = {
      csr,
      validityDuration: 3600,
      metadata: identity === undefined ? undefined : { ImpersonatedIdentity: identity },
    }
    return new Promise((resolve) => {
      ca.createCertificate(request, metadata, (error, answer) =>
        resolve(
          error
            ? (status[error.code] ?? '')
            : String(new X509Certificate(answer.certChain[0] ?? '').subjectAltName).replace('URI:', ''),
        ),
      )
    })
  }
  return { c, ask, clock }
}

const no = 'UNAUTHENTICATED'
const [order, far] = [idOf('shop', 'order'), idOf('shop', 'far')]

/** The same claims, signed by somebody else, or by nobody. */
function forged(token: string): readonly (readonly [string, string])[] {
  const [head = '', claims = '', signature = ''] = token.split('.')
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const other = sign('sha256', Buffer.from(`${head}.${claims}`), privateKey).toString('base64url')
  const read = JSON.parse(Buffer.from(claims, 'base64url').toString()) as object
  return [
    ['signed by another key', `${head}.${claims}.${other}`],
    ['signed by nobody', `${encode({ alg: 'none' })}.${claims}.`],
    ['without its signature', `${head}.${claims}.`],
    ['with a longer life', `${head}.${encode({ ...read, exp: 9_999_999_999 })}.${signature}`],
    ['with another audience', `${head}.${encode({ ...read, aud: ['istio-ca', 'x'] })}.${signature}`],
    ['cut short', token.slice(0, -8)],
    ['of three words', 'a.b.c'],
  ]
}

t.test('tokens as Kubernetes issues them: who gets which identity', async (t) => {
  const { c, ask } = await openWorld(t)
  const ztunnel = await tokenOf(c, 'istio-system', 'ztunnel', { pod: 'ztunnel-1' })
  const own = await tokenOf(c, 'shop', 'order', { pod: 'order' })
  const forVault = await tokenOf(c, 'istio-system', 'ztunnel', { pod: 'ztunnel-1', audiences: ['vault'] })
  const forBoth = await tokenOf(c, 'istio-system', 'ztunnel', {
    pod: 'ztunnel-1',
    audiences: ['vault', 'istio-ca'],
  })
  const forApi = await tokenOf(c, 'istio-system', 'ztunnel', { pod: 'ztunnel-1', audiences: [] })
  const unbound = await tokenOf(c, 'istio-system', 'ztunnel')
  const namesake = await tokenOf(c, 'shop', 'ztunnel', { pod: 'ztunnel' })
  const cases: readonly (readonly [string, string | undefined, string | undefined, string])[] = [
    ['a node proxy, for a pod of its node', ztunnel, order, order],
    ['the same token once more, as every request of a proxy bears it', ztunnel, order, order],
    ['for a pod of another node', ztunnel, far, no],
    ['for an account without a pod', ztunnel, idOf('shop', 'nobody'), no],
    ['for itself', ztunnel, undefined, idOf('istio-system', 'ztunnel')],
    ['in another trust domain', ztunnel, 'spiffe://evil.org/ns/shop/sa/order', no],
    ['a workload, for itself', own, undefined, order],
    ['a workload, for another', own, far, no],
    ['a workload, for what it is anyhow: it is no node proxy', own, order, no],
    ['for another audience', forVault, order, no],
    ['for two audiences, of which one is ours', forBoth, order, order],
    ['for the API server', forApi, order, no],
    ['bound to no pod, for another', unbound, order, no],
    ['the same account name in another namespace', namesake, order, no],
    ['no token', undefined, order, no],
    ...forged(ztunnel).map(([title, token]) => [title, token, order, no] as const),
  ]
  for (const [title, token, identity, want] of cases) t.equal(await ask(token, identity), want, title)
})

t.test(
  'a token ends with its time, its pod and its account, within the five seconds that an answer is kept',
  async (t) => {
    const { c, ask, clock } = await openWorld(t)
    const refused = (token: string, identity?: string) =>
      eventually(async () => ((await ask(token, identity)) === no ? true : undefined), 25_000)
    const [first, second] = [
      await tokenOf(c, 'istio-system', 'ztunnel', { pod: 'ztunnel-1' }),
      await tokenOf(c, 'istio-system', 'ztunnel', { pod: 'ztunnel-2' }),
    ]
    t.equal(await ask(first, order), order)
    await ok(c, 'DELETE', `${system}/pods/ztunnel-1`, { gracePeriodSeconds: 0 })
    await refused(first, order)
    await makePod(c, 'istio-system', 'ztunnel-1', 'node-1', 'ztunnel')
    t.equal(await ask(first, order), no, 'a new pod of the name has a token of its own')
    const renewed = await tokenOf(c, 'istio-system', 'ztunnel', { pod: 'ztunnel-1' })
    await eventually(async () => ((await ask(renewed, order)) === order ? true : undefined))

    await ok(c, 'DELETE', '/api/v1/namespaces/shop/pods/order', { gracePeriodSeconds: 0 })
    await refused(renewed, order)
    t.equal(await ask(second, far), far, 'other nodes go on')

    const own = await tokenOf(c, 'shop', 'far', { pod: 'far' })
    t.equal(await ask(own), far)
    await ok(c, 'DELETE', '/api/v1/namespaces/shop/serviceaccounts/far')
    await refused(own)

    const short = await tokenOf(c, 'istio-system', 'ztunnel', { pod: 'ztunnel-2', seconds: 600 })
    t.equal(await ask(short), idOf('istio-system', 'ztunnel'))
    clock.aheadMs = 601_000
    await refused(short)
    t.equal(await ask(second), idOf('istio-system', 'ztunnel'), 'one that lives longer is good')
  },
)
