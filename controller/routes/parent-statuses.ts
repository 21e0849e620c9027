import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '#base'
import { conditionsOf, mergedConditions } from '../reconcile/index.ts'
import type { RouteStatus } from './gateway-api-status.ts'

const routeController = 'istio.io/gateway-controller'
const types = ['Accepted', 'ResolvedRefs', 'PartiallyInvalid', 'ResolvedWaypoints']

/** Is it about a service of the mesh? Entries about Gateways are for others to write, under the same controller name. */
const isOfMesh = (parentRef: unknown): boolean =>
  isRecord(parentRef) && (parentRef['kind'] === 'Service' || parentRef['kind'] === 'ServiceEntry')

/**
 * The list of parents to write, or undefined when it says so already. Others' entries keep their place; ours whose
 * parentRef is gone go.
 */
export function mergedParents(
  status: unknown,
  wanted: RouteStatus,
  generation: number | undefined,
  now: string,
): readonly unknown[] | undefined {
  const parents: unknown = isRecord(status) ? status['parents'] : undefined
  const existing: readonly unknown[] = Array.isArray(parents) ? parents : []
  const isOurs = (entry: unknown) =>
    isRecord(entry) && entry['controllerName'] === routeController && isOfMesh(entry['parentRef'])
  const written = ({ parentRef, conditions }: RouteStatus[number], held: unknown) => {
    const before = conditionsOf(held)
    const own = mergedConditions(before, { types, conditions }, generation, now) ?? before
    return { parentRef, controllerName: routeController, conditions: own }
  }
  const added = new Set(wanted)
  // Places are kept: somebody else who puts his entries last would move ours, and we his, and so on for ever.
  const kept = existing.flatMap((entry): readonly unknown[] => {
    if (!isOurs(entry)) return [entry]
    const ref = isRecord(entry) ? entry['parentRef'] : undefined
    const own = [...added].find(({ parentRef }) => isDeepStrictEqual(parentRef, ref))
    if (own === undefined) return []
    added.delete(own)
    return [written(own, entry)]
  })
  const merged = [...kept, ...[...added].map((own) => written(own, undefined))]
  return isDeepStrictEqual(merged, existing) ? undefined : merged
}
