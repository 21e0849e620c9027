import { readFileSync } from 'node:fs'
import { availableParallelism, release, totalmem } from 'node:os'
import { messageOf, retry, sleep } from '#base'
import { isStatus, type KubeClient, kinds } from '#kube'
import type { Logger } from '#telemetry'
import type { NodeConfig } from '../config.ts'

const leaseSeconds = 40
/** As the kubelet: a quarter of the lease, so three may be lost. */
const heartbeatMs = 10_000
const statusEveryMs = 60_000
const leaseNamespace = 'kube-node-lease'
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

type Options = Readonly<{ client: KubeClient; node: NodeConfig; signal: AbortSignal; log: Logger }>

/** Makes the Node object, or brings it up to date, and reports it ready. Waits for the API as long as it takes. */
export async function registerNode({ client, node, signal, log }: Options): Promise<void> {
  await retry(
    async () => {
      const ref = { kind: kinds.Node, name: node.name }
      const patch = { metadata: { labels: labels(node), annotations }, spec: spec(node) }
      try {
        await client.mergePatch(ref, patch, { signal })
      } catch (error) {
        if (!isStatus(error, 404)) throw error
        await client.create(
          kinds.Node,
          { ...patch, metadata: { name: node.name, ...patch.metadata } },
          { signal },
        )
      }
      await client.mergePatch(ref, { status: nodeStatus(node, 'True') }, { subresource: 'status', signal })
    },
    {
      signal,
      attempts: Infinity,
      baseMs: 100,
      capMs: 2_000,
      onRetry: (error) => log.warn('node not registered yet', { error: messageOf(error) }),
    },
  )
}

/** Says that the node lives, until the signal fires. */
export async function heartbeat({ client, node, signal, log }: Options): Promise<void> {
  let reported = Date.now()
  while (!signal.aborted) {
    try {
      await renewLease(client, node, signal)
      if (Date.now() - reported >= statusEveryMs) {
        const ref = { kind: kinds.Node, name: node.name }
        await client.mergePatch(ref, { status: nodeStatus(node, 'True') }, { subresource: 'status', signal })
        reported = Date.now()
      }
    } catch (error) {
      if (!signal.aborted) log.debug('heartbeat failed', { error: messageOf(error) })
    }
    await sleep(heartbeatMs, signal).catch(() => undefined)
  }
}

async function renewLease(client: KubeClient, node: NodeConfig, signal: AbortSignal): Promise<void> {
  const renewTime = new Date().toISOString().replace('Z', '000Z')
  const lease = { holderIdentity: node.name, leaseDurationSeconds: leaseSeconds, renewTime }
  const ref = { kind: kinds.Lease, namespace: leaseNamespace, name: node.name }
  try {
    await client.mergePatch(ref, { spec: lease }, { signal })
  } catch (error) {
    if (!isStatus(error, 404)) throw error
    await client.create(
      kinds.Lease,
      { metadata: { name: node.name, namespace: leaseNamespace }, spec: lease },
      { signal },
    )
  }
}

const annotations = { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' }
const architecture = architectures[process.arch] ?? process.arch

const labels = (node: NodeConfig) => ({
  'kubernetes.io/hostname': node.name,
  'kubernetes.io/os': 'linux',
  'kubernetes.io/arch': architecture,
  'beta.kubernetes.io/os': 'linux',
  'beta.kubernetes.io/arch': architecture,
})

const spec = ({ podCidrs }: NodeConfig) => ({ podCIDR: podCidrs[0], podCIDRs: podCidrs })

/** `status` of the Node object; what the machine has is what each node claims to have. */
function nodeStatus(node: NodeConfig, ready: 'True' | 'False') {
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
  const condition = (type: string, status: string, reason: string, message: string) => ({
    type,
    status,
    reason,
    message,
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  })
  const capacity = {
    cpu: String(availableParallelism()),
    memory: `${Math.floor(totalmem() / 1024)}Ki`,
    pods: '110',
    'ephemeral-storage': '10Gi',
  }
  return {
    addresses: [
      { type: 'InternalIP', address: node.ipv4 },
      { type: 'InternalIP', address: node.ipv6 },
      { type: 'Hostname', address: node.name },
    ],
    capacity,
    allocatable: capacity,
    conditions: [
      condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'the sandbox does not measure'),
      condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'the sandbox does not measure'),
      condition('PIDPressure', 'False', 'KubeletHasSufficientPID', 'the sandbox does not measure'),
      condition('Ready', ready, 'KubeletReady', 'node agent is running pods'),
    ],
    nodeInfo: {
      kubeletVersion: 'v1.32.0-lateen',
      kubeProxyVersion: '',
      containerRuntimeVersion: 'lateen://0.1.0',
      kernelVersion: release(),
      osImage: osName(),
      operatingSystem: 'linux',
      architecture,
      machineID: node.name,
      systemUUID: node.name,
      bootID: '',
    },
  }
}

function osName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux'
  } catch {
    return 'Linux'
  }
}
