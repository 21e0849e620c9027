import { mkdir } from 'node:fs/promises'
import type { NodeConfig, SandboxConfig } from '../config.ts'
import { must, quote } from './run.ts'
import { netnsPath } from './sweep.ts'

/** What makes one network namespace: its switches first, then its links, addresses and routes. */
type NetnsPlan = Readonly<{
  netns: string
  sysctls: Readonly<Record<string, string>>
  ip: readonly string[]
}>

/**
 * The fabric (a bridge: the data centre's switch, its gateway and the API's address) and the nodes behind it.
 * The plans are executed in order: the fabric's makes the links whose other ends are the nodes' `eth0`.
 */
export const topologyPlan = (config: SandboxConfig): readonly NetnsPlan[] => [
  fabricPlan(config),
  ...config.nodes.map((node) => nodePlan(config, node)),
]

/** Addresses are usable at once: no duplicate detection, nobody else can be here. */
const noDad = { 'net/ipv6/conf/all/accept_dad': '0', 'net/ipv6/conf/default/accept_dad': '0' }
const forwarding = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv6/conf/default/forwarding': '1',
  // A new namespace inherits the machine's value; ours must not depend on it. Replies may take another way.
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/default/rp_filter': '0',
}

function fabricPlan({ fabric, nodes }: SandboxConfig): NetnsPlan {
  return {
    netns: fabric.netns,
    // The switch must not see connections: without this its conntrack would judge bridged packets.
    sysctls: {
      ...noDad,
      ...forwarding,
      'net/bridge/bridge-nf-call-iptables': '0',
      'net/bridge/bridge-nf-call-ip6tables': '0',
    },
    ip: [
      'link set lo up',
      'link add br0 type bridge forward_delay 0 mcast_snooping 0',
      'link set br0 up',
      ...[fabric.ipv4, fabric.apiIpv4].map((address) => `addr add ${address}/24 dev br0`),
      ...[fabric.ipv6, fabric.apiIpv6].map((address) => `addr add ${address}/64 dev br0 nodad`),
      ...nodes.flatMap((node) => [
        `link add ${node.name} type veth peer name eth0 netns ${node.netns}`,
        `link set ${node.name} master br0`,
        `link set ${node.name} up`,
      ]),
      ...nodes.flatMap(podRoutes),
    ],
  }
}

function nodePlan({ fabric, nodes }: SandboxConfig, node: NodeConfig): NetnsPlan {
  return {
    netns: node.netns,
    sysctls: { ...noDad, ...forwarding },
    ip: [
      'link set lo up',
      'link set eth0 up',
      `addr add ${node.ipv4}/24 dev eth0`,
      `addr add ${node.ipv6}/64 dev eth0 nodad`,
      // A default route is needed even though nothing is out there: DNAT of a Service address happens after routing.
      `route add default via ${fabric.ipv4}`,
      `route add default via ${fabric.ipv6}`,
      ...nodes.filter((other) => other !== node).flatMap(podRoutes),
    ],
  }
}

const podRoutes = (node: NodeConfig): readonly string[] => [
  `route add ${node.podCidrs[0]} via ${node.ipv4}`,
  `route add ${node.podCidrs[1]} via ${node.ipv6}`,
]

/** Makes fabric and nodes anew; what stood under these names before is removed. The root namespace is not touched. */
export async function createTopology(config: SandboxConfig, signal: AbortSignal): Promise<void> {
  await destroyTopology(config, signal)
  const plans = topologyPlan(config)
  for (const { netns } of plans) await must(['ip', 'netns', 'add', netns], { signal })
  await Promise.all(plans.map((plan) => applySysctls(plan, signal)))
  const [fabric, ...nodes] = plans
  if (fabric) await applyLinks(fabric, signal)
  await Promise.all(nodes.map((plan) => applyLinks(plan, signal)))
  await Promise.all(config.nodes.map((node) => makeNodeRoot(node, signal)))
}

/** A switch that the kernel lacks (no br_netfilter) needs no setting, so missing files are passed over. */
const applySysctls = ({ netns, sysctls }: NetnsPlan, signal: AbortSignal) =>
  inNetns(
    netns,
    Object.entries(sysctls)
      .map(([name, value]) => `[ ! -e /proc/sys/${name} ] || echo ${value} >/proc/sys/${name}`)
      .join('\n'),
    { signal },
  )

const applyLinks = ({ netns, ip }: NetnsPlan, signal: AbortSignal) =>
  must(['ip', '-n', netns, '-batch', '-'], { input: `${ip.join('\n')}\n`, signal })

/** Runs shell text in a network namespace of the instance. */
const inNetns = (
  netns: string,
  script: string,
  options: { signal: AbortSignal; input?: string },
): Promise<string> => must(['nsenter', `--net=${netnsPath(netns)}`, 'sh', '-ec', script], options)

/** Removes the namespaces, and with them every link, address, route and rule inside. Missing ones are fine. */
async function destroyTopology(config: SandboxConfig, signal: AbortSignal): Promise<void> {
  const names = topologyPlan(config).map(({ netns }) => quote(netns))
  await must(
    ['sh', '-c', `for n in ${names.join(' ')}; do [ ! -e ${netnsPath('$n')} ] || ip netns del "$n"; done`],
    {
      signal,
    },
  )
}

/**
 * The directory that stands for the node's file system in hostPath volumes. `run/netns` is a shared mount of its
 * own, so that namespaces bound there later show up in pods that mounted it with HostToContainer propagation.
 */
async function makeNodeRoot(node: NodeConfig, signal: AbortSignal): Promise<void> {
  for (const dir of ['run/netns', 'run/cni/bin', 'var/lib', 'var/log', 'etc/cni/net.d', 'opt/cni/bin', 'tmp'])
    await mkdir(`${node.root}/${dir}`, { recursive: true })
  await must(
    [
      'sh',
      '-ec',
      `cd ${quote(node.root)}
       [ -e var/run ] || ln -s ../run var/run
       mountpoint -q run/netns || { mount --bind run/netns run/netns; mount --make-private run/netns; mount --make-shared run/netns; }`,
    ],
    { signal },
  )
}
