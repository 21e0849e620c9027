import { randomBytes } from 'node:crypto'
import type { NodeConfig } from '../../config.ts'
import {
  cniAdd,
  cniDel,
  createPodNetns,
  deletePodNetns,
  netnsPath,
  podNetnsPath,
  type PortMapping,
} from '../../net/index.ts'
import type { NodePod } from '../pod/pod.ts'

/** What holds a pod's containers together: its network namespace and addresses. */
export type PodSandbox = Readonly<{
  containerId: string
  /** The name of its namespace in the node's /var/run/netns; undefined for a pod in the node's own network. */
  netns?: string
  /** The namespace as a path on the machine. */
  netnsPath: string
  ips: readonly string[]
}>

/** Makes and attaches a pod's network namespace. A failure leaves nothing behind and says which plugin refused. */
export async function createSandbox(
  node: NodeConfig,
  pod: NodePod,
  signal: AbortSignal,
): Promise<PodSandbox> {
  const containerId = randomBytes(16).toString('hex')
  if (pod.spec.hostNetwork)
    return { containerId, netnsPath: netnsPath(node.netns), ips: [node.ipv4, node.ipv6] }
  const netns = `cni-${containerId}`
  const path = podNetnsPath(node, netns)
  try {
    await createPodNetns(node, netns, signal)
    const { ips } = await cniAdd(node, attachment(pod, containerId, netns), signal)
    return { containerId, netns, netnsPath: path, ips }
  } catch (error) {
    // The caller's signal may be what failed; undoing must not depend on it.
    await removeSandbox(node, { containerId, netns, netnsPath: path, ips: [] }).catch(() => undefined)
    throw error
  }
}

/** Detaches and removes it. The namespace goes even if a plugin fails; that failure is thrown afterwards. */
export async function removeSandbox(node: NodeConfig, { containerId, netns }: PodSandbox): Promise<void> {
  if (netns === undefined) return
  try {
    await cniDel(node, containerId, new AbortController().signal)
  } finally {
    await deletePodNetns(node, netns)
  }
}

const attachment = ({ metadata, spec }: NodePod, containerId: string, netns: string) => ({
  containerId,
  netns,
  podName: metadata.name,
  podNamespace: metadata.namespace,
  podUid: metadata.uid,
  portMappings: spec.containers.flatMap(({ ports }) =>
    ports.flatMap(({ hostPort, containerPort, hostIP, protocol }): PortMapping[] =>
      hostPort === undefined
        ? []
        : [
            {
              hostPort,
              containerPort,
              protocol: protocol === 'UDP' ? 'udp' : 'tcp',
              ...(hostIP !== undefined && { hostIP }),
            },
          ],
    ),
  ),
})
