import type { Service, Workload } from '#mesh'
import type { DestinationPolicy, LocalityPolicy } from '#routes'
import { labelOf } from '#wire'
import type { Host } from './host.ts'

type Labels = NonNullable<DestinationPolicy['labels']>

/** Is the workload one of a subset? */
export const hasLabels = (workload: Workload, labels: Labels | undefined): boolean =>
  labels === undefined ||
  Object.entries(labels).every(([key, value]) => labelOf(workload, workload.labels, key) === value)

/**
 * Hosts by how near they are, nearest first: the requests go to the first level as long as it is well (facts: l7.md
 * §3.5). Levels without hosts are left out. `sensing`: somebody looks whether hosts are well; failover needs that.
 */
export function levelsOf(
  hosts: readonly Host[],
  policy: LocalityPolicy,
  { mode, preferences }: Service['loadBalancer'],
  local: Workload | undefined,
  sensing: boolean,
): readonly (readonly Host[])[] {
  if (!local) return hosts.length === 0 ? [] : [hosts]
  switch (policy.kind) {
    case 'service':
      if (mode !== 'Failover' && mode !== 'Strict') return byRank(hosts, () => 0)
      return byRank(hosts, ({ workload }) => {
        const matching = preferences.findIndex((scope) => scopeOf[scope](workload) !== scopeOf[scope](local))
        const depth = matching < 0 ? preferences.length : matching
        if (mode === 'Strict' && depth < preferences.length) return undefined
        return preferences.length - depth
      })
    case 'failover':
      if (!sensing) return byRank(hosts, () => 0)
      return byRank(hosts, ({ workload }) => distance(workload, local, policy.regions))
    case 'failover-labels':
      if (!sensing) return byRank(hosts, () => 0)
      return byRank(hosts, ({ workload }) => {
        const of = (row: Workload, key: string) => labelOf(row, row.labels, key)
        const apart = policy.labels.findIndex(
          ({ key, value = of(local, key) }) => of(workload, key) !== value,
        )
        return apart < 0 ? 0 : policy.labels.length - apart
      })
    case 'distribute':
      return byRank(hosts, () => 0)
  }
}

const scopeOf: Record<Service['loadBalancer']['preferences'][number], (w: Workload) => string> = {
  Region: (w) => w.locality.region,
  Zone: (w) => w.locality.zone,
  Subzone: (w) => w.locality.subzone,
  Node: (w) => w.node,
  Cluster: (w) => w.clusterId,
  Network: (w) => w.network,
}

/** 0 in the same subzone … 3 in another region; 4 where another region stands in for ours. */
function distance(
  { locality: there }: Workload,
  { locality: here }: Workload,
  regions: readonly Readonly<{ from: string; to: string }>[],
): number {
  if (there.region === here.region) {
    if (there.zone !== here.zone) return 2
    return there.subzone === here.subzone ? 0 : 1
  }
  const instead = regions.filter(({ from }) => from === here.region)
  return instead.length === 0 || instead.some(({ to }) => to === there.region) ? 3 : 4
}

function byRank(
  hosts: readonly Host[],
  rankOf: (host: Host) => number | undefined,
): readonly (readonly Host[])[] {
  const levels = new Map<number, Host[]>()
  for (const host of hosts) {
    const rank = rankOf(host)
    if (rank === undefined) continue
    const level = levels.get(rank)
    if (level) level.push(host)
    else levels.set(rank, [host])
  }
  return [...levels].sort(([a], [b]) => a - b).map(([, level]) => level)
}

/** A locality, or what a pattern says of several, and its share in percent. */
export type Group = Readonly<{ percent: number; hosts: readonly Host[] }>

/**
 * Who shares the requests where a policy says what each locality gets; hosts of localities that it does not name get
 * nothing. Undefined where it says nothing about where we are.
 */
export function groupsOf(
  hosts: readonly Host[],
  policy: Extract<LocalityPolicy, { kind: 'distribute' }>,
  local: Workload | undefined,
): readonly Group[] | undefined {
  const shares = local && policy.shares.find(({ from }) => isWithin(local, from))
  if (!shares) return undefined
  const groups = shares.to.map(({ locality, percent }) => ({ locality, percent, hosts: [] as Host[] }))
  // In order: the first pattern that fits has the host.
  for (const host of hosts) groups.find(({ locality }) => isWithin(host.workload, locality))?.hosts.push(host)
  return groups.filter((group) => group.percent > 0 && group.hosts.length > 0)
}

/** What each host has of everything by its locality's share and its own weight in it. */
export const sharesOf = (
  groups: readonly Group[],
  weightOf: (host: Host) => number,
): ReadonlyMap<Host, number> =>
  new Map(
    groups.flatMap(({ percent, hosts }) => {
      const sum = hosts.reduce((all, host) => all + weightOf(host), 0)
      return hosts.map((host) => [host, (percent * weightOf(host)) / sum] as const)
    }),
  )

/** `region/zone/subzone`; `*` and what is left out is any. */
function isWithin({ locality }: Workload, pattern: string): boolean {
  const own = [locality.region, locality.zone, locality.subzone]
  return pattern.split('/').every((part, i) => part === '*' || part === own[i])
}
