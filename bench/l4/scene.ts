import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { type KubeClient, kinds, type Pod } from '#kube'
import type { SandboxConfig } from '../../sandbox/config.ts'
import { applyAll } from '../../sandbox/demo/apply.ts'
import { readObjects } from '../../sandbox/demo/manifests.ts'
import { repository } from '../../sandbox/demo/mesh.ts'
import { isCaptured, until } from '../../sandbox/demo/wait.ts'

/** A pod of the bench: its network namespace (a path) and its IPv4 address. */
type Seat = Readonly<{ netns: string; ip: string }>
export type Scene = Readonly<Record<'meshClient' | 'meshServer' | 'plainClient' | 'plainServer', Seat>>

/** Applies the pods, waits for them and for the capture, and finds their network namespaces. */
export async function openScene(
  config: SandboxConfig,
  client: KubeClient,
  signal: AbortSignal,
): Promise<Scene> {
  await applyAll(client, await readObjects(`${repository}bench/l4/pods.yaml`), signal)
  const pods = await until(
    'the pods of the bench run, two of them captured',
    async () => {
      const { items } = await client.list(kinds.Pod, { namespace: 'bench' }, signal)
      const ready = items.filter((pod) => pod.status?.phase === 'Running' && pod.status.podIP !== undefined)
      return ready.length === 4 && ready.filter(isCaptured).length === 2 && items
    },
    { signal },
  )
  const seat = (name: string): Seat => {
    const pod = pods.find(({ metadata }) => metadata.name === name)
    const ip = pod?.status?.podIP
    if (!pod || ip === undefined) throw new Error(`no pod ${name}`)
    const netns = netnsOf(config, pod, ip)
    // The machine's default, bbr, is slower on loopback links and hides differences (facts: dataplane.md §0.6).
    inside(netns, 'sysctl', '-qw', 'net.ipv4.tcp_congestion_control=reno')
    return { netns, ip }
  }
  return {
    meshClient: seat('mesh-client'),
    meshServer: seat('mesh-server'),
    plainClient: seat('plain-client'),
    plainServer: seat('plain-server'),
  }
}

const inside = (netns: string, ...command: string[]) =>
  execFileSync('nsenter', [`--net=${netns}`, ...command], { encoding: 'utf8' })

function netnsOf({ nodes }: SandboxConfig, pod: Pod, ip: string): string {
  const node = nodes.find(({ name }) => name === pod.spec?.nodeName)
  const folder = `${node?.root}/run/netns`
  const name = readdirSync(folder).find((entry) =>
    inside(`${folder}/${entry}`, 'ip', '-4', 'addr').includes(`inet ${ip}/`),
  )
  if (name === undefined) throw new Error(`no network namespace of ${ip}`)
  return `${folder}/${name}`
}

/** Processes of the pods of an app in istio-system, by the POD_NAME in their environment. */
export async function meshPids(client: KubeClient, labelSelector: string): Promise<number[]> {
  const { items } = await client.list(kinds.Pod, { namespace: 'istio-system', labelSelector })
  const names = new Set(items.map(({ metadata }) => `POD_NAME=${metadata.name}`))
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && environment(pid).some((variable) => names.has(variable)))
    .map(Number)
}

const environment = (pid: string) => {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0')
  } catch {
    return []
  }
}

/** CPU seconds that processes have used, all their threads included. */
export function cpuSeconds(pids: readonly number[]): number {
  const ticksPerSecond = 100
  let ticks = 0
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / ticksPerSecond
}
