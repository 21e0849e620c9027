import { isRecord, MeshError, sleep, within } from '#base'
import { type KubeClient, kinds, type Pod } from '#kube'

const pollMs = 50

/** Polls `check` until it returns something that is not undefined or false. Throws MeshError('timeout') with `what`. */
export async function until<T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  { signal, timeoutMs = 60_000 }: { signal: AbortSignal; timeoutMs?: number },
): Promise<T> {
  const deadline = within(timeoutMs, signal)
  for (let last: unknown; ; ) {
    try {
      const value = await check()
      if (value !== undefined && value !== false) return value
    } catch (error) {
      last = error
    }
    signal.throwIfAborted()
    if (deadline.aborted)
      throw new MeshError('timeout', { message: `not within ${timeoutMs / 1000} s: ${what}`, cause: last })
    await sleep(pollMs, signal)
  }
}

/** Annotation that the CNI agent puts on a pod whose traffic it has captured. */
const redirection = 'ambient.istio.io/redirection'
export const isCaptured = (pod: Pod): boolean => pod.metadata.annotations?.[redirection] === 'enabled'

/** Waits until every Deployment and DaemonSet of a namespace has all its pods ready. */
export const rolledOut = (client: KubeClient, namespace: string, signal: AbortSignal): Promise<true> =>
  until(
    `every workload of ${namespace} is ready`,
    async () => {
      const deployments = await client.list(kinds.Deployment, { namespace }, signal)
      const daemonSets = await client.list(kinds.DaemonSet, { namespace }, signal)
      return (
        deployments.items.length + daemonSets.items.length > 0 &&
        deployments.items.every((row) => complete(row, 'readyReplicas', spec(row, 'replicas') ?? 1)) &&
        daemonSets.items.every((row) => complete(row, 'numberReady', figure(row, 'desiredNumberScheduled')))
      )
    },
    { signal },
  )

const inside = (row: unknown, part: 'spec' | 'status', key: string): number | undefined => {
  const section = isRecord(row) ? row[part] : undefined
  const value = isRecord(section) ? section[key] : undefined
  return typeof value === 'number' ? value : undefined
}
const spec = (row: unknown, key: string) => inside(row, 'spec', key)
const figure = (row: unknown, key: string) => inside(row, 'status', key)
const complete = (row: { metadata: { generation?: number } }, ready: string, wanted: number | undefined) =>
  wanted !== undefined &&
  wanted > 0 &&
  figure(row, ready) === wanted &&
  (figure(row, 'observedGeneration') ?? 0) >= (row.metadata.generation ?? 0)
