/** What may be open at once; each takes one descriptor at most. */
export type Capacity = Readonly<{
  /** Of peers' proxies: a node has one or a few, whatever its pods do. */
  connections: number
  /** Connections of clients, each of some kilobytes where nothing moves. */
  tunnels: number
  /**
   * Requests under way. Each costs some 20 KiB here, besides bodies, whose memory has its own bounds: these take about a
   * fifth of the gigabyte that a waypoint's pod is given.
   */
  requests: number
  /** Copies of requests, which nobody waits for: what becomes of them must not cost requests their room. */
  copies: number
  /** Connections to applications that are kept without a request. */
  idle: number
  /** Connections to other proxies that are kept without a tunnel, between two looks at them. */
  unused: number
}>

export const usualCapacity: Capacity = {
  connections: 10_000,
  tunnels: 20_000,
  requests: 10_000,
  copies: 2_500,
  idle: 4_096,
  unused: 256,
}

/** The rest is for listeners, probes, scrapes, the control plane, names that are looked up, and the log. */
const share = 0.75

/** What of it there are descriptors for: who runs out of them serves nobody, not even who wants to know why. */
export function capacityFor(fileLimit: number): Capacity {
  const { connections, tunnels, requests, copies, idle, unused } = usualCapacity
  // A look at those without a tunnel comes late by as many.
  const wanted = connections + tunnels + requests + copies + idle + 2 * unused
  const part = Math.min(1, (share * fileLimit) / wanted)
  const fit = (number: number) => Math.max(1, Math.floor(part * number))
  return {
    connections: fit(connections),
    tunnels: fit(tunnels),
    requests: fit(requests),
    copies: fit(copies),
    idle: fit(idle),
    unused: fit(unused),
  }
}
