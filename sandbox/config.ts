/** One node of the sandbox: its name, its namespace and the addresses that belong to it. */
export type NodeConfig = Readonly<{
  name: string
  netns: string
  /** Host part of every address of this node, from 1. */
  index: number
  ipv4: string
  ipv6: string
  podCidrs: readonly [ipv4: string, ipv6: string]
  /** What pods see as the node's file system when they mount a hostPath. */
  root: string
  kubeletSocket: string
}>

/** Where a cluster keeps what, and its networks. */
export type SandboxConfig = Readonly<{
  name: string
  stateDir: string
  runDir: string
  kubeconfig: string
  pkiDir: string
  database: string
  fabric: Readonly<{
    netns: string
    ipv4: string
    ipv6: string
    apiIpv4: string
    apiIpv6: string
    apiPort: number
  }>
  serviceCidrs: readonly [ipv4: string, ipv6: string]
  apiServiceIp: string
  dnsServiceIp: string
  /** Its pair in the second Service block. */
  dnsServiceIpv6: string
  clusterDomain: string
  nodes: readonly NodeConfig[]
}>

/** An instance's name is part of paths and namespace names, so it is kept short and plain. */
const nameShape = /^[a-z][a-z0-9-]{0,15}$/
const maxNodes = 9

/** Every path, name and address of a sandbox instance follows from its name and size. Throws a RangeError. */
export function sandboxConfig(
  name = process.env['LATEEN_SANDBOX'] ?? 'lateen',
  nodeCount = 2,
): SandboxConfig {
  if (!nameShape.test(name)) throw new RangeError(`sandbox name must match ${nameShape.source}: ${name}`)
  if (!Number.isInteger(nodeCount) || nodeCount < 1 || nodeCount > maxNodes)
    throw new RangeError(`a sandbox has 1 to ${maxNodes} nodes, not ${nodeCount}`)
  const stateDir = `/var/lib/lateen/${name}`
  const runDir = `/run/lateen/${name}`
  return {
    name,
    stateDir,
    runDir,
    kubeconfig: `${stateDir}/kubeconfig`,
    pkiDir: `${stateDir}/pki`,
    database: `${stateDir}/api.sqlite`,
    fabric: {
      netns: `${name}-fabric`,
      ipv4: '10.77.0.1',
      ipv6: 'fd77::1',
      apiIpv4: '10.77.0.2',
      apiIpv6: 'fd77::2',
      apiPort: 6443,
    },
    serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'],
    apiServiceIp: '10.96.0.1',
    dnsServiceIp: '10.96.0.10',
    dnsServiceIpv6: 'fd00:10:96::a',
    clusterDomain: 'cluster.local',
    nodes: Array.from({ length: nodeCount }, (_, i) => nodeConfig(name, runDir, i + 1)),
  }
}

const nodeConfig = (name: string, runDir: string, index: number): NodeConfig => ({
  name: `node-${index}`,
  netns: `${name}-node-${index}`,
  index,
  ipv4: `10.77.0.${10 + index}`,
  ipv6: `fd77::1${index}`,
  podCidrs: [`10.244.${index}.0/24`, `fd00:10:244:${index}::/64`],
  root: `${runDir}/nodes/node-${index}/root`,
  kubeletSocket: `${runDir}/nodes/node-${index}/kubelet.sock`,
})
