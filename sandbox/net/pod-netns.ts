import { rm } from 'node:fs/promises'
import type { NodeConfig } from '../config.ts'
import { must, quote, run } from './run.ts'

/** A pod's namespace as a file on the machine; on the node it is /var/run/netns/<name>. */
export const podNetnsPath = (node: NodeConfig, name: string): string => `${node.root}/run/netns/${name}`

/**
 * Set before any interface exists: addresses are usable without waiting for duplicate detection (ptp would wait 2 s
 * for it), and ports below 1024 are free for any user, as container runtimes have it.
 */
const podSysctls = `
  for f in all default; do echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad; done
  echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start`

/** Makes an empty network namespace for a pod and keeps it by a bind mount. */
export async function createPodNetns(node: NodeConfig, name: string, signal: AbortSignal): Promise<void> {
  const path = quote(podNetnsPath(node, name))
  await must(['sh', '-ec', `: >${path}; exec unshare --net=${path} sh -ec '${podSysctls}'`], { signal })
}

/** Removes it. Missing is fine; processes inside keep it alive unseen, so they are ended first by the caller. */
export async function deletePodNetns(node: NodeConfig, name: string): Promise<void> {
  const path = podNetnsPath(node, name)
  await run(['umount', '-l', path])
  await rm(path, { force: true })
}
