import type { ContainerPlan } from '../runtime/init-script.ts'
import type { NodePod, PodContainer } from './pod.ts'

/** What containerd leaves to a container that asks for nothing. */
const defaultCapabilities = [
  'chown',
  'dac_override',
  'fowner',
  'fsetid',
  'kill',
  'setgid',
  'setuid',
  'setpcap',
  'net_bind_service',
  'net_raw',
  'sys_chroot',
  'mknod',
  'audit_write',
  'setfcap',
]

type Identity = Pick<ContainerPlan, 'user' | 'capabilities' | 'readOnlyRoot'>

/** User and rights of a container. Images have no user of their own here, so it is root unless the pod says otherwise. */
export function identityOf(pod: NodePod, container: PodContainer): Identity {
  const own = container.securityContext
  const shared = pod.spec.securityContext
  const uid = own.runAsUser ?? shared.runAsUser ?? 0
  const gid = own.runAsGroup ?? shared.runAsGroup ?? 0
  const groups = [...shared.supplementalGroups, ...(shared.fsGroup === undefined ? [] : [shared.fsGroup])]
  return {
    user: { uid, gid, groups },
    capabilities: own.privileged ? 'all' : capabilitiesOf(own.capabilities),
    readOnlyRoot: own.readOnlyRootFilesystem,
  }
}

/** Additions win over removals, as the kubelet has it: drop ALL and add what is needed. */
export function capabilitiesOf({
  add,
  drop,
}: Readonly<{ add: readonly string[]; drop: readonly string[] }>): 'all' | readonly string[] {
  const plain = (name: string) => name.toLowerCase().replace(/^cap_/, '')
  const added = add.map(plain)
  if (added.includes('all')) return 'all'
  const dropped = new Set(drop.map(plain))
  const kept = dropped.has('all') ? [] : defaultCapabilities.filter((name) => !dropped.has(name))
  return [...new Set([...kept, ...added])]
}
