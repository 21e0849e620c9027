import { retry } from '#base'
import { isStatus, type KubeClient, kinds } from '#kube'
import type { NodePod } from './pod/pod.ts'

/** Until then the API server may be away; after it, the next agent's first look removes the object. */
const finalizeTimeoutMs = 3600_000

/** Removes a pod's object. It goes last: whoever sees it gone knows that nothing of the pod is left on the node. */
export async function finalizePod(client: KubeClient, { metadata }: NodePod): Promise<void> {
  const { name, namespace, uid } = metadata
  const body = { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0, preconditions: { uid } }
  const signal = AbortSignal.timeout(finalizeTimeoutMs)
  const options = { signal, attempts: Infinity, baseMs: 200, capMs: 5_000 }
  try {
    await retry(() => client.delete({ kind: kinds.Pod, name, namespace }, { body, signal }), options)
  } catch (error) {
    if (!isStatus(error, 409)) throw error // 409: another pod has the name by now
  }
}
