import { type NodePod, parsePod } from '../../../sandbox/node/pod/pod.ts'

/** A pod as the API server would hand it out, from the parts of a spec that a test cares about. */
export function podOf(spec: Record<string, unknown>, metadata: Record<string, unknown> = {}): NodePod {
  const pod = parsePod({
    metadata: { name: 'web', namespace: 'shop', uid: 'uid-1', ...metadata },
    spec: { nodeName: 'node-1', ...spec },
  })
  if ('reject' in pod) throw new Error(pod.reject)
  return pod
}
