/** How many more healthy endpoints than needed a level has before it gives up load: Envoy's overprovisioning factor. */
const overprovisioning = 1.4

export type LevelHealth = Readonly<{ healthy: number; total: number }>

/**
 * The share of the requests that each level gets, in percent (facts: l7.md §3.5): levels are filled in order with as much
 * as their health allows until everything is given. Undefined where no level has anybody.
 */
export function loadOf(levels: readonly LevelHealth[]): readonly number[] | undefined {
  const health = levels.map(({ healthy, total }) =>
    total === 0 ? 0 : Math.min(100, Math.floor((overprovisioning * 100 * healthy) / total)),
  )
  const sum = health.reduce((all, one) => all + one, 0)
  if (sum === 0) return undefined
  const scale = Math.min(100, sum)
  let left = 100
  const load = health.map((one) => {
    const share = Math.min(left, Math.round((one * 100) / scale))
    left -= share
    return share
  })
  // What rounding leaves goes to the first that takes any.
  const first = load.findIndex((share) => share > 0)
  return load.map((share, i) => (i === first ? share + left : share))
}

/** The level for a draw in [0, 1). */
export function levelFor(load: readonly number[], draw: number): number {
  let point = draw * 100
  const found = load.findIndex((share) => (point -= share) < 0)
  return found < 0 ? load.findLastIndex((share) => share > 0) : found
}

/** Is so little left that health says nothing any more? `threshold` of 0: never. */
export const isPanic = ({ healthy, total }: LevelHealth, threshold: number): boolean =>
  threshold > 0 && total > 0 && (healthy * 100) / total < threshold
