import {
  AppsV1Api,
  CoreV1Api,
  Exec,
  KubeConfig,
  KubernetesObjectApi,
  PatchStrategy,
  type KubernetesObject,
  type V1Pod,
  type V1Status,
} from '@kubernetes/client-node'
import { setTimeout as delay } from 'node:timers/promises'
import { createInterface } from 'node:readline'
import { PassThrough, Writable } from 'node:stream'
import type { Test } from 'tap'
import { parseAllDocuments } from 'yaml'

/** Why the end-to-end tests cannot run here, or false. They talk to the cluster of KUBECONFIG and to nothing else. */
export const skip = process.env['KUBECONFIG']
  ? false
  : 'needs KUBECONFIG of a cluster with the mesh installed'

const load = () => {
  const config = new KubeConfig()
  config.loadFromDefault()
  return config
}
const config = skip ? new KubeConfig() : load()
export const core = skip ? (undefined as unknown as CoreV1Api) : config.makeApiClient(CoreV1Api)
const apps = skip ? (undefined as unknown as AppsV1Api) : config.makeApiClient(AppsV1Api)
const objects = skip
  ? (undefined as unknown as KubernetesObjectApi)
  : KubernetesObjectApi.makeApiClient(config)

/** Server-side applies every object of a YAML text, by force unless it is told not to. */
export async function apply(yaml: string, manager = 'e2e', force = true): Promise<void> {
  for (const document of parseAllDocuments(yaml)) {
    const object = document.toJS() as KubernetesObject | null
    if (object)
      await objects.patch(object, undefined, undefined, manager, force, PatchStrategy.ServerSideApply)
  }
}

/** Deletes what `apply` made; objects that are gone already are fine. */
export async function remove(yaml: string): Promise<void> {
  for (const document of parseAllDocuments(yaml)) {
    const object = document.toJS() as KubernetesObject | null
    if (object) await objects.delete(object).catch(ignoreNotFound)
  }
}

/** Reads an object as it stands, as plain JSON. */
export const read = async (apiVersion: string, kind: string, namespace: string, name: string) =>
  JSON.parse(
    JSON.stringify(await objects.read({ apiVersion, kind, metadata: { namespace, name } })),
  ) as Record<string, unknown>

const ignoreNotFound = (error: unknown) => {
  if ((error as { code?: number }).code !== 404) throw error
}

/** Waits until `check` returns something true and returns it; throws its last complaint after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  timeoutMs = 90_000,
): Promise<T> {
  const end = Date.now() + timeoutMs
  for (let last: unknown; ; ) {
    try {
      const value = await check()
      if (value !== undefined && value !== false) return value
    } catch (error) {
      last = error
    }
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last })
    await delay(100)
  }
}

/** Two schedulable nodes, so that traffic between them crosses the link. */
export async function twoNodes(): Promise<[string, string]> {
  const { items } = await core.listNode()
  const [a, b] = items
    .filter((node) => !node.spec?.taints?.some(({ effect }) => effect === 'NoSchedule'))
    .map((node) => node.metadata?.name ?? '')
  if (!a || !b) throw new Error('needs two schedulable nodes')
  return [a, b]
}

/** A namespace of the test's own, deleted when the test ends. */
export async function namespace(t: Test, base: string, labels: Record<string, string> = {}): Promise<string> {
  const name = `${base}-${Math.random().toString(36).slice(2, 7)}`
  await core.createNamespace({ body: { metadata: { name, labels } } })
  t.teardown(() => core.deleteNamespace({ name }).catch(ignoreNotFound))
  // Until it has one, pods are refused.
  await eventually('the namespace has its service account', () =>
    core.readNamespacedServiceAccount({ namespace: name, name: 'default' }),
  )
  return name
}

/** Sets labels of a namespace (or of what else has none); null removes one. */
export const label = (name: string, labels: Record<string, string | null>, kind = 'Namespace') =>
  objects.patch(
    { apiVersion: 'v1', kind, metadata: { name, labels: labels as Record<string, string> } },
    undefined,
    undefined,
    'e2e',
    undefined,
    PatchStrategy.MergePatch,
  )

/** What `kubectl rollout restart` does to a DaemonSet; returns when every node has its new pod. */
export async function restartDaemonSet(namespace: string, name: string): Promise<void> {
  const metadata = { namespace, name }
  const annotations = { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() }
  const body = {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata,
    spec: { template: { metadata: { annotations } } },
  }
  await objects.patch(body, undefined, undefined, 'e2e', undefined, PatchStrategy.StrategicMergePatch)
  await eventually(
    `${name} is rolled out`,
    async () => {
      const { status, metadata: of } = await apps.readNamespacedDaemonSet(metadata)
      if (status?.observedGeneration !== of?.generation) return false
      const wanted = status?.desiredNumberScheduled
      return status?.updatedNumberScheduled === wanted && status?.numberAvailable === wanted
    },
    180_000,
  )
}

/** Pods of a label selector that are not being deleted. */
export async function pods(namespace: string, labelSelector: string): Promise<V1Pod[]> {
  const { items } = await core.listNamespacedPod({ namespace, labelSelector })
  return items.filter((pod) => !pod.metadata?.deletionTimestamp)
}

export const nameOf = (pod: V1Pod): string => pod.metadata?.name ?? ''
export const isReady = (pod: V1Pod): boolean =>
  pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
export const isCaptured = (pod: V1Pod): boolean =>
  pod.metadata?.annotations?.['ambient.istio.io/redirection'] === 'enabled'

/** Waits until at least `count` pods match and all that match are ready. */
export const readyPods = (namespace: string, selector: string, count: number): Promise<V1Pod[]> =>
  eventually(
    `${count} pods of ${selector} ready`,
    async () => {
      const found = await pods(namespace, selector)
      return found.length >= count && found.every(isReady) && found
    },
    180_000,
  )

/** The one pod of an app of the mesh on a node. */
export async function meshPod(selector: string, node: string): Promise<V1Pod> {
  const found = await pods('istio-system', selector)
  const pod = found.find(({ spec }) => spec?.nodeName === node)
  if (!pod) throw new Error(`no pod of ${selector} on ${node}`)
  return pod
}

type ExecResult = Readonly<{ code: number; stdout: string; stderr: string }>

/** Runs a command in a pod's first container; `heard` is told what it says as it comes. A non-zero exit is a result, not an error. */
export async function exec(
  namespace: string,
  pod: string,
  command: string[],
  heard: (text: string) => void = () => undefined,
) {
  const inContainer = await containerOf(namespace, pod)
  const out: string[] = []
  const errors: string[] = []
  const into = (parts: string[]) =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        parts.push(chunk.toString())
        heard(chunk.toString())
        done()
      },
    })
  const status = await new Promise<V1Status>((resolve, reject) => {
    new Exec(config)
      .exec(namespace, pod, inContainer, command, into(out), into(errors), null, false, resolve)
      .then((socket) => {
        socket.onerror = (event) => reject(new Error(`exec in ${pod}: ${event.message}`))
        socket.onclose = () => reject(new Error(`exec in ${pod}: closed without a status`))
      }, reject)
  })
  const exitCode = status.details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message
  const code = status.status === 'Success' ? 0 : Number(exitCode ?? 1)
  return { code, stdout: out.join(''), stderr: errors.join('') } satisfies ExecResult
}

/** A command that runs until its standard input ends; `onLine` is told each line that it prints, `onEnd` why it has ended. */
export async function converse(
  namespace: string,
  pod: string,
  command: string[],
  onLine: (line: string) => void,
  onEnd: (why: string) => void,
): Promise<PassThrough> {
  const inContainer = await containerOf(namespace, pod)
  const input = new PassThrough()
  const output = new PassThrough()
  createInterface({ input: output }).on('line', onLine)
  const errors: string[] = []
  const heard = new Writable({
    write(chunk: Buffer, _encoding, done) {
      errors.push(chunk.toString())
      done()
    },
  })
  const ended = (why: string) => onEnd(`${command.join(' ')} in ${pod} ${why} ${errors.join('')}`)
  const socket = await new Exec(config).exec(
    namespace,
    pod,
    inContainer,
    command,
    output,
    heard,
    input,
    false,
    ({ status, message }) => ended(`ended: ${status} ${message ?? ''}`),
  )
  socket.onerror = (event) => ended(`failed: ${event.message}`)
  socket.onclose = () => ended('was closed')
  return input
}

const containerOf = async (namespace: string, name: string) =>
  (await core.readNamespacedPod({ namespace, name })).spec?.containers[0]?.name ?? ''

/** What a pod logged, as lines. */
export async function logs(namespace: string, name: string, tailLines?: number): Promise<string[]> {
  const text = await core.readNamespacedPodLog({
    namespace,
    name,
    ...(tailLines === undefined ? {} : { tailLines }),
  })
  return (text ?? '').split('\n').filter((line) => line !== '')
}
