import type { Deployment } from './objects.ts'
import { resolveCount } from './pod-state.ts'

/** How many pods may be too many, and how many too few, while versions change. */
export function rollingLimits({ spec }: Deployment): Readonly<{ surge: number; unavailable: number }> {
  const replicas = spec?.replicas ?? 1
  const { maxSurge = '25%', maxUnavailable = '25%' } = spec?.strategy?.rollingUpdate ?? {}
  const surge = resolveCount(maxSurge, replicas, 'up')
  const unavailable = Math.min(resolveCount(maxUnavailable, replicas, 'down'), replicas)
  // Both 0 would never move (Kubernetes: ResolveFenceposts).
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable }
}
