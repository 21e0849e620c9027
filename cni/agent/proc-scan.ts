import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'

type Process = Readonly<{ pid: number; startTicks: number; inode: string }>

/** `…/kubepods-burstable-pod01234567_89ab_….slice/…` or `…/pod01234567-89ab-…/…`: how kubelets name a pod's cgroup. */
export function podUidOf(cgroup: string): string | undefined {
  const found = /pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})/i.exec(cgroup)
  return found?.[1]?.replaceAll('_', '-').toLowerCase()
}

/**
 * The /proc path of the network namespace of a pod that the plugin never told us of (it was started before the plugin
 * was installed). The oldest process decides, as in Istio: a later one may have moved elsewhere.
 */
export async function findNetnsByUid(hostProc: string, uid: string): Promise<string | undefined> {
  const own = await readlink('/proc/self/ns/net').catch(() => '')
  const host = await readlink(join(hostProc, '1/ns/net')).catch(() => '')
  let oldest: Process | undefined
  for (const name of await readdir(hostProc).catch(() => [])) {
    if (!/^\d+$/.test(name)) continue
    const process = await read(hostProc, Number(name), uid)
    if (!process || process.inode === own || process.inode === host) continue
    if (!oldest || process.startTicks < oldest.startTicks) oldest = process
  }
  return oldest && join(hostProc, `${oldest.pid}/ns/net`)
}

/** undefined for another pod's process, and for one that ended while we looked. */
async function read(hostProc: string, pid: number, uid: string): Promise<Process | undefined> {
  try {
    const cgroup = await readFile(join(hostProc, `${pid}/cgroup`), 'utf8')
    if (podUidOf(cgroup) !== uid.toLowerCase()) return undefined
    const [stat, inode] = await Promise.all([
      readFile(join(hostProc, `${pid}/stat`), 'utf8'),
      readlink(join(hostProc, `${pid}/ns/net`)),
    ])
    // The second field is a name in brackets that may hold blanks; start time is the 22nd.
    const startTicks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
    return { pid, startTicks, inode }
  } catch {
    return undefined
  }
}

/** Uid of the node's kubelet, for rules that can match only that; 0 when there is none to be seen. */
export async function kubeletUid(hostProc: string): Promise<number> {
  for (const name of await readdir(hostProc).catch(() => [])) {
    if (!/^\d+$/.test(name)) continue
    const comm = await readFile(join(hostProc, `${name}/comm`), 'utf8').catch(() => '')
    if (!['kubelet', 'kubelite', 'k3s-server', 'k3s-agent'].includes(comm.trim())) continue
    const status = await readFile(join(hostProc, `${name}/status`), 'utf8').catch(() => '')
    return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? 0)
  }
  return 0
}
