/** How many more healthy endpoints than needed a level has before it gives up load: Envoy's overprovisioning factor. */
export const overprovisioning = 1.4

export type LevelHealth = Readonly<{ healthy: number; total: number }>

/** What a level can take of everything, in percent. */
const healthOf = ({ healthy, total }: LevelHealth): number =>
  total === 0 ? 0 : Math.min(100, Math.floor((overprovisioning * 100 * healthy) / total))

/** Percentages by these numbers that make 100; undefined where all of them are 0. */
function sharedBy(amounts: readonly number[]): readonly number[] | undefined {
  const sum = amounts.reduce((all, one) => all + one, 0)
  if (sum === 0) return undefined
  const scale = Math.min(100, sum)
  let left = 100
  const shares = amounts.map((one) => {
    const share = Math.min(left, Math.round((one * 100) / scale))
    left -= share
    return share
  })
  // What rounding leaves goes to the first that takes any.
  const first = shares.findIndex((share) => share > 0)
  return shares.map((share, i) => (i === first ? share + left : share))
}

/**
 * The share of the requests that each level gets, in percent (facts: l7.md §3.5): levels are filled in order with as much
 * as their health allows until everything is given. Undefined where no level has anybody.
 */
export const loadOf = (levels: readonly LevelHealth[]): readonly number[] | undefined =>
  sharedBy(levels.map(healthOf))

type Loads = Readonly<{
  load: readonly number[]
  /** In which levels health says nothing any more. */
  panics: readonly boolean[]
}>

/**
 * The same where health is ignored below `threshold` percent (0: never). As long as all levels together can take
 * everything nobody panics; where all of them do, everybody gets requests alike (Envoy).
 */
export function loadsOf(levels: readonly LevelHealth[], threshold: number): Loads | undefined {
  const load = loadOf(levels)
  const enough = levels.reduce((sum, level) => sum + healthOf(level), 0) >= 100
  const panics = levels.map((level) => !enough && isPanic(level, threshold))
  if (levels.length === 0 || !panics.every((panic) => panic)) return load && { load, panics }
  const hosts = levels.reduce((sum, { total }) => sum + total, 0)
  const byNumber = sharedBy(levels.map(({ total }) => (100 * total) / hosts))
  return byNumber && { load: byNumber, panics }
}

/** The load where some levels are left out as long as others have anybody (Envoy's previous priorities). */
export const loadWithout = (
  levels: readonly LevelHealth[],
  out: ReadonlySet<number>,
): readonly number[] | undefined =>
  sharedBy(levels.map((level, i) => (out.has(i) ? 0 : healthOf(level)))) ?? loadOf(levels)

/** The level for a draw in [0, 1). */
export function levelFor(load: readonly number[], draw: number): number {
  let point = draw * 100
  const found = load.findIndex((share) => (point -= share) < 0)
  return found < 0 ? load.findLastIndex((share) => share > 0) : found
}

/** Is so little left that health says nothing any more? `threshold` of 0: never. */
const isPanic = ({ healthy, total }: LevelHealth, threshold: number): boolean =>
  threshold > 0 && total > 0 && (healthy * 100) / total < threshold
