import type { Netns } from '#linux'
import { run, tryRun } from './run.ts'

/** Per network namespace; 0 unless somebody sets it. Linux 5.14 and later. */
const setting = '/proc/sys/net/ipv4/tcp_migrate_req'

/**
 * Connections that wait in the queue of a listener that closes go to another listener of the same port instead of being
 * reset: without it a ztunnel that leaves takes along what it has not accepted yet. Resolves with false where the kernel
 * has no such thing.
 */
export async function migrateRequests(netns: Netns, on: boolean, signal: AbortSignal): Promise<boolean> {
  const now = await tryRun(['cat', setting], { netns, signal })
  if (now === undefined) return false
  if (now.trim() === (on ? '1' : '0')) return true
  const write = `echo ${on ? 1 : 0} >${setting}`
  if ((await tryRun(['sh', '-c', write], { netns, signal })) !== undefined) return true
  // In a container /proc/sys is mounted read-only. With SYS_ADMIN one may look at it through a mount of one's own.
  await run(['unshare', '--mount', '--', 'sh', '-c', `mount -t proc proc /proc && ${write}`], {
    netns,
    signal,
  })
  return true
}
