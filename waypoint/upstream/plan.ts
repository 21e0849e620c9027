import type { Service, Workload } from '#mesh'
import type { DestinationPolicy } from '#routes'
import { type Host, isEjected, weightOf } from './host.ts'
import { type Group, groupsOf, hasLabels, levelsOf, sharesOf } from './levels.ts'
import { type Picker, pickerOf } from './picker.ts'
import { type LevelHealth, loadsOf, overprovisioning } from './priorities.ts'
import { Schedule } from './schedule.ts'
import { warming } from './warm-up.ts'

/** Who is asked, in which shares, as things are. */
export type Plan = Readonly<{
  /** Nearest first; what each gets, in percent, is `load`. */
  levels: readonly Readonly<{ pick: Picker; hosts: readonly Host[]; usable: readonly Host[] }>[]
  health: readonly LevelHealth[]
  load: readonly number[]
}>

type PlanParts = Readonly<{
  service: Service
  policy: DestinationPolicy
  /** Where we are. */
  local: Workload | undefined
  now: number
  random: () => number
}>

/** How often weights of hosts that are warming up are looked at. */
const warmupStepMs = 1_000

/** A plan for these endpoints, and until when it holds if nothing changes; no plan where nobody may be asked. */
export function planFor(
  all: Iterable<Host>,
  parts: PlanParts,
): Readonly<{ plan: Plan | undefined; until: number }> {
  const { service, policy, local, now } = parts
  const { labels, locality, panicPercent, outliers, warmup } = policy
  const ofSubset = [...all].filter(({ workload }) => hasLabels(workload, labels))
  const groups = locality.kind === 'distribute' ? groupsOf(ofSubset, locality, local) : undefined
  const members = groups ? groups.flatMap(({ hosts }) => hosts) : ofSubset
  // Without outlier detection nobody can tell that a locality is ill (Istio).
  const levels = levelsOf(members, locality, service.loadBalancer, local, outliers !== undefined)
  const isWarming = warmup && members.some(({ since }) => now - since < warmup.durationMs)
  const until = isWarming ? now + warmupStepMs : Number.POSITIVE_INFINITY
  const health = levels.map((hosts) => ({
    healthy: hosts.filter((host) => !isEjected(host)).length,
    total: hosts.length,
  }))
  const loads = loadsOf(health, panicPercent)
  if (!loads) return { plan: undefined, until }
  const weigh = warmup ? warming(warmup, now) : weightOf
  const plan: Plan = {
    load: loads.load,
    health,
    levels: levels.map((hosts, i) => {
      const isUsable = (host: Host) => loads.panics[i] === true || !isEjected(host)
      const usable = hosts.filter(isUsable)
      return { hosts, usable, pick: pickIn(usable, groups, isUsable, weigh, parts) }
    }),
  }
  return { plan, until }
}

/** Chooses in one level; where localities have shares, a locality first and then a host in it. */
function pickIn(
  hosts: readonly Host[],
  groups: readonly Group[] | undefined,
  isUsable: (host: Host) => boolean,
  weigh: (host: Host) => number,
  { policy: { loadBalancer }, random }: PlanParts,
): Picker {
  if (!groups) return pickerOf(loadBalancer, hosts, weigh, random)
  // A hash has one ring for all: a host's part of it is its part of the locality's share.
  if (loadBalancer.kind === 'ring-hash' || loadBalancer.kind === 'maglev') {
    const shares = sharesOf(groups, weigh)
    return pickerOf(loadBalancer, hosts, (host) => shares.get(host) ?? 0, random)
  }
  const localities = groups.flatMap(({ percent, hosts: all }) => {
    const usable = all.filter(isUsable)
    const weight = percent * Math.min(1, (overprovisioning * usable.length) / all.length)
    return weight > 0 ? [{ weight, pick: pickerOf(loadBalancer, usable, weigh, random) }] : []
  })
  if (localities.length === 1) return localities[0]?.pick ?? (() => undefined)
  const turns = new Schedule(localities, ({ weight }) => weight, random)
  return (hash) => turns.next()?.pick(hash)
}
