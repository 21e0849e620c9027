import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type Ip, MeshError, messageOf, parseIp } from '#base'
import type { Pod } from '#kube'
import { type Netns, openNetns } from '#linux'
import type { Phase } from '../rules/index.ts'
import type { Wish } from './eligibility.ts'
import { addressesIn } from './in-flight.ts'
import type { NetnsRegistry } from './netns-registry.ts'
import { findNetnsByUid } from './proc-scan.ts'

/** A pod that is ours: its open namespace and how far its capture got. */
export type Captured = {
  readonly uid: string
  readonly key: string
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly netns: Netns
  wish: Wish
  phase: Phase
  /** When the rules of `joining` were in place, by performance.now(). */
  joinedMs: number | undefined
  /** ztunnel listens in it, as far as the last answer goes. */
  announced: boolean
  /** The kernel was read back and did what the wish says. */
  verified: boolean
  /** Those in the node's set of probe exemptions. */
  addresses: readonly Ip[]
  /** What we last wrote into its annotation; the watched pod may be older. */
  status: 'enabled' | 'pending' | undefined
}

/** Addresses of a pod, as far as they are known. */
export function addressesOf({ status }: Pod): readonly Ip[] {
  const all = [...(status?.podIPs ?? []).map(({ ip }) => ip), status?.podIP ?? '']
  const parsed = all.map(parseIp).filter((ip) => ip !== undefined)
  return [...new Set(parsed)]
}

/**
 * Opens the pod's namespace: where the plugin said, else where /proc says. A pod with addresses must have one of them in
 * there: paths and processes are reused, and rules in another pod's namespace would give it this one's identity.
 */
export async function openPodNetns(
  uid: string,
  addresses: readonly Ip[],
  o: Readonly<{ registry: NetnsRegistry; hostRoot: string; hostProc: string; signal: AbortSignal }>,
): Promise<Netns> {
  const told = o.registry.get(uid)?.netns
  const reasons: string[] = []
  for (const find of [() => told && join(o.hostRoot, told), () => findNetnsByUid(o.hostProc, uid)]) {
    const path = await find()
    if (path === undefined || path === '') continue
    try {
      return await openChecked(path, addresses, o.signal)
    } catch (error) {
      o.signal.throwIfAborted()
      reasons.push(`${path}: ${messageOf(error)}`)
    }
  }
  throw new MeshError('unavailable', {
    message: `the pod's network namespace is not known${reasons.length > 0 ? ` (${reasons.join('; ')})` : ''}`,
  })
}

async function openChecked(path: string, addresses: readonly Ip[], signal: AbortSignal): Promise<Netns> {
  const netns = openNetns(path)
  try {
    // The agent is on the host network: its own namespace is the node's.
    if (readlinkSync('/proc/self/ns/net') === `net:[${netns.inode}]`)
      throw new MeshError('bad-config', { message: 'it is the namespace of the node' })
    const present = addresses.length > 0 ? await addressesIn(netns, signal) : undefined
    if (present && !addresses.some((address) => present.has(address)))
      throw new MeshError('stale-state', { message: `it has none of ${addresses.join(', ')}` })
    return netns
  } catch (error) {
    netns[Symbol.dispose]()
    throw error
  }
}
