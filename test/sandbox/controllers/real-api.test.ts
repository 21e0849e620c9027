import t, { type Test } from 'tap'
import { retry } from '#base'
import { type Custom, KubeClient, kinds, loadCluster, type Pod, reflect } from '#kube'
import { silent } from '#telemetry'
import { startApiServer } from '../../../sandbox/api/app.ts'
import { kubeconfigFiles } from '../../../sandbox/api/auth/index.ts'
import { startControllers } from '../../../sandbox/controllers/app.ts'
import { daemonSets, deployments, replicaSets } from '../../../sandbox/controllers/objects.ts'
import { eventually as soon, temporaryConfig } from '../api/harness.ts'

/** Long enough for a busy machine; what does happen takes well under a second. */
const eventually = <T>(check: () => Promise<T | undefined>) => soon(check, 25_000)
// Starting a server takes seconds where many tests share the processors.
t.setTimeout(300_000)
const forever = new AbortController()
t.teardown(() => forever.abort())

/** A client under the identity of a kubeconfig, through loopback. */
function clientOf(t: Test, path: string, port: number): KubeClient {
  const client = new KubeClient({ ...loadCluster(path), server: new URL(`https://127.0.0.1:${port}`) })
  t.teardown(() => client[Symbol.dispose]())
  return client
}

/** What a node agent asks of the API, with a node's rights and no containers. */
async function startKubelet(client: KubeClient, name: string, signal: AbortSignal): Promise<string[]> {
  const failures: string[] = []
  const failed = (error: unknown) => void (signal.aborted || failures.push(String(error)))
  await client.create(kinds.Node, { metadata: { name } })
  const conditions = [{ type: 'Ready', status: 'True' as const, reason: 'KubeletReady', message: 'ready' }]
  await client.mergePatch({ kind: kinds.Node, name }, { status: { conditions } }, { subresource: 'status' })
  const renewTime = new Date().toISOString().replace('Z', '000Z')
  await client.create(kinds.Lease, {
    metadata: { name, namespace: 'kube-node-lease' },
    spec: { holderIdentity: name, renewTime },
  })
  let count = 0
  const started = new Set<string>()
  const visit = async (pod: Pod) => {
    const { name: podName = '', namespace = '', uid = '', deletionTimestamp } = pod.metadata
    const ref = { kind: kinds.Pod, name: podName, namespace }
    if (deletionTimestamp)
      return void (await client.delete(ref, { body: { gracePeriodSeconds: 0, preconditions: { uid } } }))
    if (started.has(uid)) return
    started.add(uid)
    const ip = `10.244.${name.slice(-1)}.${++count}`
    const status = {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: new Date().toISOString() }],
    }
    await client.mergePatch(ref, { status }, { subresource: 'status' })
  }
  reflect(client, kinds.Pod, { signal, fieldSelector: `spec.nodeName=${name}`, baseMs: 20 }).subscribe(
    (changes) => {
      for (const { row } of changes) if (row) visit(row).catch(failed)
    },
  )
  return failures
}

async function cluster(t: Test) {
  const config = temporaryConfig()
  const stop = new AbortController()
  let server = await startApiServer({ config, port: 0, log: silent })
  const { port } = server
  const at = kubeconfigFiles(config)
  const admin = clientOf(t, at.admin, port)
  const controllers = await startControllers({
    client: clientOf(t, at.controllers, port),
    config,
    rootPem: 'root',
    signal: stop.signal,
    log: silent,
  })
  t.teardown(async () => {
    stop.abort()
    await controllers[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
    config[Symbol.dispose]()
  })
  const restart = async () => {
    await server[Symbol.asyncDispose]()
    server = await startApiServer({ config, port, log: silent })
  }
  const kubelet = (name: string) => startKubelet(clientOf(t, at.node(name), port), name, stop.signal)
  return { admin, restart, config, port, failures: [await kubelet('node-1'), await kubelet('node-2')] }
}

const template = { metadata: { labels: { app: 'order' } }, spec: { containers: [{ name: 'a', image: 'x' }] } }
const selector = { matchLabels: { app: 'order' } }

async function deploy(admin: KubeClient, namespace: string): Promise<void> {
  await admin.create(kinds.Namespace, { metadata: { name: namespace } })
  await admin.create(deployments, {
    metadata: { name: 'order', namespace },
    spec: { replicas: 2, selector, template },
  })
  await admin.create(daemonSets, {
    metadata: { name: 'agent', namespace },
    spec: { selector, template },
  })
  await admin.create(kinds.Service, {
    metadata: { name: 'order', namespace },
    spec: { selector: { app: 'order' }, ports: [{ port: 80 }] },
  })
}
const available = (admin: KubeClient, namespace: string, replicas: number) =>
  eventually(async () => {
    const { status } = await admin.get({ kind: deployments, name: 'order', namespace })
    return status?.availableReplicas === replicas && status.replicas === replicas ? true : undefined
  })

const { admin, restart, config, port, failures } = await cluster(t)

t.test('controllers and nodes, each with no more than its own rights, run a workload', async (t) => {
  await deploy(admin, 'shop')
  await available(admin, 'shop', 2)
  await eventually(async () => {
    const { items } = await admin.list(kinds.EndpointSlice, { namespace: 'shop' })
    return items.flatMap(({ endpoints }) => endpoints ?? []).length === 4 ? true : undefined
  })
  const { items } = await admin.list(kinds.Pod, { namespace: 'shop' })
  t.equal(items.length, 4, 'two of the Deployment, one for each node')
  for (const name of ['node-1', 'node-2'])
    t.equal(items.filter(({ spec }) => spec?.nodeName === name).length, 2, name)
  t.ok(await admin.find({ kind: kinds.Service, name: 'kube-dns', namespace: 'kube-system' }))
  t.match(await admin.find({ kind: kinds.EndpointSlice, name: 'kubernetes', namespace: 'default' }), {
    endpoints: [{ addresses: ['10.77.0.2'] }],
    ports: [{ port: 6443 }],
  })

  await admin.delete(
    { kind: deployments, name: 'order', namespace: 'shop' },
    { body: { propagationPolicy: 'Foreground' } },
  )
  await eventually(async () =>
    (await admin.list(replicaSets, { namespace: 'shop' })).items.length === 0 ? true : undefined,
  )
  await admin.delete({ kind: kinds.Namespace, name: 'shop' })
  await eventually(async () =>
    (await admin.find({ kind: kinds.Namespace, name: 'shop' })) ? undefined : true,
  )
  t.equal((await admin.list(kinds.Pod)).items.length, 0)
  t.same(failures, [[], []], 'no node was refused anything')
})

t.test('a token that a node gets for its pod names pod and node, and dies with the pod', async (t) => {
  await deploy(admin, 'tokens')
  await available(admin, 'tokens', 2)
  const { items } = await admin.list(kinds.Pod, { namespace: 'tokens' })
  const pod = items.find(({ spec }) => spec?.nodeName === 'node-1')
  if (!pod) return t.fail('no pod on node-1')
  const node = clientOf(t, kubeconfigFiles(config).node('node-1'), port)
  const { name = '', uid = '' } = pod.metadata
  const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name, uid }
  const answer = await node.request('POST', '/api/v1/namespaces/tokens/serviceaccounts/default/token', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { audiences: ['istio-ca'], boundObjectRef },
  })
  const token = tokenIn(answer)
  const review = (audiences: string[]) =>
    admin.create(kinds.TokenReview, { metadata: {}, spec: { token, audiences } })
  t.match((await review(['istio-ca'])).status, {
    authenticated: true,
    audiences: ['istio-ca'],
    user: {
      username: 'system:serviceaccount:tokens:default',
      extra: {
        'authentication.kubernetes.io/pod-name': [name],
        'authentication.kubernetes.io/pod-uid': [uid],
        'authentication.kubernetes.io/node-name': ['node-1'],
      },
    },
  })
  t.notOk((await review(['vault'])).status?.authenticated)
  await admin.delete({ kind: kinds.Pod, name, namespace: 'tokens' }, { body: { gracePeriodSeconds: 0 } })
  t.match((await review(['istio-ca'])).status, { error: /bound to Pod .* does not exist/ })
})

t.test('a restarted API server finds everybody again', async (t) => {
  await deploy(admin, 'later')
  await available(admin, 'later', 2)
  await restart()
  const ref = { kind: deployments, name: 'order', namespace: 'later' }
  // A kept-alive connection to the server before may be found dead only by using it.
  await retry(() => admin.mergePatch(ref, { spec: { replicas: 5 } }), { signal: forever.signal })
  await available(admin, 'later', 5)
  t.equal((await admin.list(kinds.Pod, { namespace: 'later' })).items.length, 7, 'and nothing was made twice')
})

function tokenIn(answer: unknown): string {
  const { status } = answer as Custom & { status?: { token?: string } }
  return status?.token ?? ''
}
