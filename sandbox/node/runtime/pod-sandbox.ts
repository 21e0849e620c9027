import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { messageOf } from '#base'
import type { Logger } from '#telemetry'
import type { NodeConfig } from '../../config.ts'
import {
  attachedIds,
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
  const sandbox = sandboxOf(node, containerId)
  try {
    await createPodNetns(node, sandbox.netns, signal)
    const { ips } = await cniAdd(node, attachment(pod, containerId, sandbox.netns), signal)
    return { ...sandbox, ips }
  } catch (error) {
    // The caller's signal may be what failed; undoing must not depend on it.
    await removeSandbox(node, sandbox).catch(() => undefined)
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

/**
 * Removes what no pod of the node knows of: an agent that was killed while it made a sandbox left namespace and
 * addresses, a plugin that refused to detach left its part. To be called before anything new is made.
 */
export async function removeOrphans(
  node: NodeConfig,
  known: ReadonlySet<string>,
  log: Logger,
): Promise<void> {
  const namespaces = await readdir(`${node.root}/run/netns`).catch(() => [])
  const made = namespaces.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length))
  for (const containerId of new Set([...made, ...(await attachedIds(node))])) {
    if (known.has(containerId)) continue
    log.info('removing the network of a pod that is no more', { containerId })
    await removeSandbox(node, sandboxOf(node, containerId)).catch((error: unknown) =>
      log.warn('pod network not detached cleanly', { containerId, error: messageOf(error) }),
    )
  }
}

/** Of the namespaces' names in the node's /var/run/netns. */
const prefix = 'cni-'

function sandboxOf(node: NodeConfig, containerId: string) {
  const netns = `${prefix}${containerId}`
  return { containerId, netns, netnsPath: podNetnsPath(node, netns), ips: [] }
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
