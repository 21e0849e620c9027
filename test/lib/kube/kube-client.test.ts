import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { isRetryable } from '#base'
import { isStatus, keyOf, KubeClient, KubeError, kinds, loadCluster, pathOf } from '#kube'
import { FakeKube } from '../../fakes/fake-kube.ts'

const config = (name: string, data: Record<string, string>) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'shop' },
  data,
})
const ref = (name: string) => ({ kind: kinds.ConfigMap, name, namespace: 'shop' })
const fails = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

t.test('paths of kinds, namespaces, objects and subresources', async (t) => {
  t.equal(pathOf(kinds.Pod), '/api/v1/pods')
  t.equal(
    pathOf(kinds.Pod, { namespace: 'a', name: 'b', subresource: 'status' }),
    '/api/v1/namespaces/a/pods/b/status',
  )
  t.equal(pathOf(kinds.Node, { name: 'n' }), '/api/v1/nodes/n')
  t.equal(pathOf(kinds.Lease, { namespace: 'a' }), '/apis/coordination.k8s.io/v1/namespaces/a/leases')
  t.equal(
    pathOf(kinds.ConfigMap, { namespace: '../x', name: 'a/b' }),
    '/api/v1/namespaces/..%2Fx/configmaps/a%2Fb',
  )
  t.equal(keyOf({ metadata: { name: 'n', namespace: 'ns' } }), 'ns/n')
})

t.test('creates, reads, replaces, patches, applies, deletes', async (t) => {
  await using fake = await FakeKube.start()
  const client = fake.client()
  await client.create(kinds.ConfigMap, config('c', { a: '1' }))
  const held = await client.get(ref('c'))
  t.same(held.data, { a: '1' })
  await client.mergePatch(ref('c'), { data: { b: '2', a: null } })
  t.same((await client.get(ref('c'))).data, { b: '2' })
  const conflict = await fails(client.update(kinds.ConfigMap, held))
  t.ok(isStatus(conflict, 409), 'a stale version is refused')
  await client.apply(kinds.ConfigMap, config('d', { x: 'y' }), { fieldManager: 'test', force: true })
  t.match(fake.requests.at(-1), /^PATCH .*fieldManager=test&force=true$/)
  t.equal((await client.list(kinds.ConfigMap, { namespace: 'shop' })).items.length, 2)
  t.equal(await client.delete(ref('d')), true)
  t.equal(await client.delete(ref('d')), false, 'already gone')
  t.equal(await client.find(ref('d')), undefined)
})

t.test('an answer of the API server becomes an error with its status and reason', async (t) => {
  await using fake = await FakeKube.start()
  const client = fake.client()
  const missing = await fails(client.get(ref('none')))
  t.match(missing, { status: 404, reason: 'NotFound' })
  t.notOk(isRetryable(missing))
  fake.hook(() => ({ status: 503, body: 'down' }))
  const down = await fails(client.get(ref('none')))
  t.match(down, { status: 503 })
  t.ok(isRetryable(down))
})

t.test(
  'no answer at all is retryable; the caller’s own cancellation is not an error of the API',
  async (t) => {
    const gone = await FakeKube.start()
    const { cluster } = gone
    await gone[Symbol.asyncDispose]()
    using client = new KubeClient(cluster)
    const error = await fails(client.get(ref('c')))
    t.ok(error instanceof KubeError && error.status === 0 && isRetryable(error))
    const reason = new Error('enough')
    t.equal(await fails(client.get(ref('c'), AbortSignal.abort(reason))), reason)
  },
)

t.test('http to anything but loopback is refused', async (t) => {
  t.throws(
    () =>
      new KubeClient({
        server: new URL('http://10.0.0.1'),
        insecure: false,
        namespace: 'x',
        credentials: () => ({}),
      }),
    /loopback only/,
  )
})

t.test('clusters', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'kube-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const write = (name: string, text: string) => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  const kubeconfig = (user: string) => `
current-context: it
contexts: [{ name: other, context: { cluster: x, user: x } }, { name: it, context: { cluster: c, user: u, namespace: shop } }]
clusters: [{ name: c, cluster: { server: "https://10.0.0.1:6443", certificate-authority: ca.pem, tls-server-name: kube } }]
users: [{ name: u, user: ${user} }]`
  write('ca.pem', 'CA')
  write('token', 'first\n')

  t.test('a kubeconfig with a client certificate, files relative to it', async (t) => {
    const b64 = Buffer.from('KEY').toString('base64')
    const path = write('cert', kubeconfig(`{ client-certificate: ca.pem, client-key-data: ${b64} }`))
    const cluster = loadCluster(path)
    t.match(cluster, { ca: 'CA', serverName: 'kube', insecure: false, namespace: 'shop' })
    t.equal(cluster.server.href, 'https://10.0.0.1:6443/')
    t.same(await cluster.credentials(), { cert: 'CA', key: 'KEY' })
  })

  t.test('a token file is read again when it was replaced', async (t) => {
    const cluster = loadCluster(write('tokenfile', kubeconfig('{ tokenFile: token }')))
    t.same(await cluster.credentials(), { token: 'first' })
    write('token', 'second, longer\n')
    t.same(await cluster.credentials(), { token: 'second, longer' })
  })

  t.test('credentials made by a program are asked for through the official client', async (t) => {
    const credential =
      '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"made"}}'
    const exec = `{ apiVersion: client.authentication.k8s.io/v1, command: echo, args: ['${credential}'], interactiveMode: Never }`
    const cluster = loadCluster(write('exec', kubeconfig(`{ exec: ${exec} }`)))
    const { token, headers } = await cluster.credentials()
    t.match(token ?? headers?.['Authorization'] ?? '', /made$/)
  })

  t.test('in a pod: service account files and environment', async (t) => {
    for (const [name, text] of [
      ['ca.crt', 'ROOT'],
      ['namespace', 'istio-system'],
    ])
      write(name ?? '', text ?? '')
    process.env['KUBERNETES_SERVICE_HOST'] = 'fd00::1'
    process.env['KUBERNETES_SERVICE_PORT'] = '443'
    t.teardown(() => delete process.env['KUBERNETES_SERVICE_HOST'])
    const cluster = loadCluster('', dir)
    t.equal(cluster.server.host, '[fd00::1]')
    t.match(cluster, { ca: 'ROOT', namespace: 'istio-system' })
  })

  t.test('neither is one clear sentence', async (t) => {
    t.throws(() => loadCluster('', dir), { code: 'bad-config', message: /set KUBECONFIG/ })
    t.throws(() => loadCluster(join(dir, 'none')), { code: 'bad-config' })
    t.throws(() => loadCluster(write('empty', '{}')), { code: 'bad-config' })
  })
})
