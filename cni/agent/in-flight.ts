import { isRecord, type Ip, parseIp, sleep } from '#base'
import type { Netns } from '#linux'
import { wire } from '../rules/index.ts'
import { run } from '../rules/run.ts'

const pollMs = 100

/** Addresses of the interfaces of a namespace. */
export async function addressesIn(netns: Netns, signal: AbortSignal): Promise<ReadonlySet<Ip>> {
  const links: unknown = JSON.parse(await run(['ip', '-j', 'addr', 'show'], { netns, signal }))
  const infos = Array.isArray(links)
    ? links.filter(isRecord).flatMap((link): unknown[] => {
        const list: unknown = link['addr_info']
        return Array.isArray(list) ? list : []
      })
    : []
  const texts = infos.map((info) => (isRecord(info) ? info['local'] : undefined))
  return new Set(texts.map((text) => parseIp(String(text))).filter((ip) => ip !== undefined))
}

/**
 * Connections in a pod that need its rules: those the kernel turned to ztunnel, and those that ztunnel made to the app
 * with the client's address, which is none of the pod's own. The input is what `ss -Htn state established` prints.
 */
export function countInFlight(sockets: string, own: ReadonlySet<Ip>): number {
  return sockets.split('\n').filter((line) => {
    const [, , local = ''] = line.trim().split(/\s+/)
    const [, host = '', port] = /^\[?([0-9a-fA-F.:]+)(?:%[^\]]*)?\]?:(\d+)$/.exec(local) ?? []
    const address = parseIp(host)
    if (address === undefined) return false
    const redirected = Number(port) === wire.outboundPort || Number(port) === wire.inboundPort
    return redirected || !own.has(address)
  }).length
}

/** Resolves when no such connection is left, or after `maxMs`. */
export async function drainConnections(netns: Netns, maxMs: number, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + maxMs
  const own = await addressesIn(netns, signal)
  while (performance.now() < deadline) {
    const sockets = await run(['ss', '-Htn', 'state', 'established'], { netns, signal })
    if (countInFlight(sockets, own) === 0) return
    await sleep(pollMs, signal)
  }
}
