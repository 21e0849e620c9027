import { once } from 'node:events'
import { createServer } from 'node:https'
import t from 'tap'
import { createRoot, generateKeyPair, issueCertificate, privateKeyPem } from '#identity'
import { type Client, type Parsed, startServer } from '../harness.ts'

const day = 86_400_000
const root = createRoot({ organization: 'test', validityMs: day })
const keys = generateKeyPair()
const cert = issueCertificate({
  issuer: root,
  publicKey: keys.publicKey,
  dnsNames: ['localhost', 'hook.system.svc'],
  usages: ['serverAuth'],
  notBefore: new Date(Date.now() - day / 2),
  notAfter: new Date(Date.now() + day / 2),
})
type Judge = (request: Parsed) => unknown

/** A webhook that answers what `judge` says; a judge that says nothing never answers. */
async function hook(judge: Judge) {
  const asked: Parsed[] = []
  const server = createServer({ key: privateKeyPem(keys.privateKey), cert }, (message, response) => {
    void (async () => {
      let text = ''
      for await (const chunk of message) text += String(chunk)
      const { request } = JSON.parse(text)
      asked.push(request)
      const verdict = await judge(request)
      if (verdict === undefined) return
      const answer = { uid: request.uid, ...(verdict as object) }
      response.end(
        JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer }),
      )
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    asked,
    port,
    url: `https://localhost:${port}/validate`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

const configurations = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations'
const maps = '/api/v1/namespaces/default/configmaps'
const map = (name: string, data: Record<string, string> = {}, labels = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, labels },
  data,
})
async function register(
  c: Client,
  clientConfig: Record<string, unknown>,
  more: Record<string, unknown> = {},
) {
  const { status, headers } = await c.call('POST', configurations, {
    body: {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'test' },
      webhooks: [
        {
          name: 'maps.test.io',
          clientConfig: { caBundle: Buffer.from(root.certPem).toString('base64'), ...clientConfig },
          rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['*'], resources: ['configmaps'] }],
          sideEffects: 'None',
          admissionReviewVersions: ['v1'],
          timeoutSeconds: 1,
          ...more,
        },
      ],
    },
  })
  if (status !== 201) throw new Error(`not registered: ${status}`)
  return headers
}
const deny = {
  allowed: false,
  status: {
    code: 422,
    reason: 'Invalid',
    message: 'data.x: bad',
    details: { causes: [{ field: 'data.x', message: 'bad' }] },
  },
}

t.test('a write that a webhook denies is not done, and its words reach the client', async (t) => {
  await using c = await startServer()
  await using h = await hook(({ object }) =>
    object?.data?.x === 'bad' ? deny : { allowed: true, warnings: ['mind'] },
  )
  const headers = await register(c, { url: h.url })
  t.notOk(headers['warning'], 'no word of not being enforced')
  const bad = await c.call('POST', maps, { body: map('a', { x: 'bad' }) })
  t.equal(bad.status, 422)
  t.match(bad.body, {
    reason: 'Invalid',
    message: 'admission webhook "maps.test.io" denied the request: data.x: bad',
    details: { causes: [{ field: 'data.x' }] },
  })
  t.equal((await c.call('GET', `${maps}/a`)).status, 404)
  const good = await c.call('POST', maps, { body: map('a', { x: 'good' }) })
  t.equal(good.status, 201)
  t.match(good.headers['warning'], /mind/)
  const patch = { type: 'application/merge-patch+json', body: { data: { x: 'bad' } } }
  t.equal((await c.call('PATCH', `${maps}/a`, patch)).status, 422)
  t.equal((await c.call('PUT', `${maps}/a`, { body: map('a', { x: 'bad' }) })).status, 422)
  const apply = { type: 'application/apply-patch+yaml', body: map('b', { x: 'bad' }) }
  t.equal((await c.call('PATCH', `${maps}/b?fieldManager=m`, apply)).status, 422)
  t.equal((await c.call('GET', `${maps}/b`)).status, 404)
  t.equal((await c.call('GET', `${maps}/a`)).body.data.x, 'good')
  t.same(
    h.asked.map(({ operation }) => operation),
    ['CREATE', 'CREATE', 'UPDATE', 'UPDATE', 'CREATE'],
  )
  t.match(h.asked[2], {
    name: 'a',
    namespace: 'default',
    object: { data: { x: 'bad' } },
    oldObject: { data: { x: 'good' } },
    userInfo: { username: /./ },
  })
  t.equal((await c.call('DELETE', `${maps}/a`)).status, 200)
  t.match(h.asked.at(-1), { operation: 'DELETE', object: null, oldObject: { data: { x: 'good' } } })
})

t.test('who is asked: rules, namespaceSelector, objectSelector', async (t) => {
  await using c = await startServer()
  await using h = await hook(() => deny)
  const namespaceSelector = { matchLabels: { guarded: 'yes' } }
  await register(
    c,
    { url: h.url },
    { namespaceSelector, objectSelector: { matchExpressions: [{ key: 'skip', operator: 'DoesNotExist' }] } },
  )
  t.equal((await c.call('POST', maps, { body: map('a') })).status, 201, 'the namespace is not chosen')
  const patch = { type: 'application/merge-patch+json', body: { metadata: { labels: { guarded: 'yes' } } } }
  await c.call('PATCH', '/api/v1/namespaces/default', patch)
  t.equal((await c.call('POST', maps, { body: map('b') })).status, 422)
  t.equal(
    (await c.call('POST', maps, { body: map('c', {}, { skip: '1' }) })).status,
    201,
    'the object is not',
  )
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' } }
  t.equal((await c.call('POST', '/api/v1/namespaces/default/secrets', { body: secret })).status, 201)
  t.equal((await c.call('GET', maps)).status, 200)
  t.equal(h.asked.length, 1)
})

const failures: readonly [string, Judge | undefined, Record<string, unknown>, RegExp][] = [
  ['does not answer', () => undefined, {}, /deadline exceeded/],
  ['answers another review', () => ({ uid: 'x', allowed: true }), {}, /not one to this review/],
  ['is not there', undefined, {}, /ECONNREFUSED/],
  ['has another root', () => ({ allowed: true }), { clientConfig: 'other-root' }, /certificate|issuer/i],
  [
    'has conditions',
    () => ({ allowed: true }),
    { matchConditions: [{ name: 'x', expression: 'true' }] },
    /matchConditions/,
  ],
]
for (const [title, judge, more, why] of failures)
  t.test(`a webhook that ${title}: its failurePolicy decides`, async (t) => {
    for (const failurePolicy of ['Fail', 'Ignore']) {
      await using c = await startServer()
      await using h = await hook(judge ?? (() => undefined))
      const { clientConfig, ...rest } = more
      const other = createRoot({ organization: 'other', validityMs: day }).certPem
      const caBundle = Buffer.from(clientConfig === undefined ? root.certPem : other).toString('base64')
      await register(c, { url: judge ? h.url : 'https://localhost:1/', caBundle }, { failurePolicy, ...rest })
      const answer = await c.call('POST', maps, { body: map('a') })
      t.equal(answer.status, failurePolicy === 'Fail' ? 500 : 201)
      if (failurePolicy === 'Fail') {
        t.match(answer.body.message, /failed calling webhook "maps\.test\.io"/)
        t.match(answer.body.message, why)
        t.equal((await c.call('GET', `${maps}/a`)).status, 404)
      }
    }
  })

t.test('a dry run is shown as one, or refused where the webhook has side effects', async (t) => {
  await using c = await startServer()
  await using h = await hook(() => ({ allowed: true }))
  await register(c, { url: h.url })
  t.equal((await c.call('POST', `${maps}?dryRun=All`, { body: map('a') })).status, 201)
  t.equal(h.asked[0].dryRun, true)
  t.equal((await c.call('GET', `${maps}/a`)).status, 404)
  await using d = await startServer()
  await register(d, { url: h.url }, { sideEffects: 'NoneOnDryRun' })
  t.equal((await d.call('POST', `${maps}?dryRun=All`, { body: map('a') })).status, 201)
})

t.test('a write that others overtook meanwhile is reviewed again, as it would be now', async (t) => {
  await using c = await startServer()
  let first = true
  const patch = (data: object) => ({ type: 'application/merge-patch+json', body: { data } })
  await using h = await hook(async ({ userInfo, object }) => {
    if (first && object?.data?.mine === '1') {
      first = false
      await c.call('PATCH', `${maps}/a`, patch({ theirs: '1' }))
    }
    return { allowed: userInfo !== undefined }
  })
  t.equal((await c.call('POST', maps, { body: map('a') })).status, 201)
  await register(c, { url: h.url })
  t.equal((await c.call('PATCH', `${maps}/a`, patch({ mine: '1' }))).status, 200)
  t.same((await c.call('GET', `${maps}/a`)).body.data, { theirs: '1', mine: '1' })
  t.same(h.asked.at(-1).object.data, { theirs: '1', mine: '1' })
})

t.test('the webhook of a Service is one of its ready endpoints', async (t) => {
  await using c = await startServer()
  await using h = await hook(() => deny)
  const post = async (path: string, body: unknown) =>
    t.equal((await c.call('POST', path, { body })).status, 201)
  await register(c, { service: { name: 'hook', namespace: 'system', path: '/validate' } })
  const nobody = await c.call('POST', maps, { body: map('a') })
  t.match(nobody.body.message, /service "hook" not found/)
  await post('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'system' } })
  await post('/api/v1/namespaces/system/services', {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'hook' },
    spec: {
      ports: [
        { name: 'https', port: 443 },
        { name: 'x', port: 80 },
      ],
    },
  })
  t.match((await c.call('POST', maps, { body: map('a') })).body.message, /no endpoints available/)
  await post('/apis/discovery.k8s.io/v1/namespaces/system/endpointslices', {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'hook-1', labels: { 'kubernetes.io/service-name': 'hook' } },
    addressType: 'IPv4',
    ports: [
      { name: 'x', port: 1 },
      { name: 'https', port: h.port },
    ],
    endpoints: [
      { addresses: ['127.0.0.9'], conditions: { ready: false } },
      { addresses: ['127.0.0.1'], conditions: { ready: true } },
    ],
  })
  t.equal((await c.call('POST', maps, { body: map('a') })).status, 422)
  t.equal(h.asked.length, 1)
})
