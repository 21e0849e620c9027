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
  const merged = [
    ...existing.filter((entry) => !isOurs(entry)),
    ...wanted.map(({ parentRef, conditions }) => {
      const held = existing.find(
        (entry) => isOurs(entry) && isRecord(entry) && isDeepStrictEqual(entry['parentRef'], parentRef),
      )
      const before = conditionsOf(held)
      return {
        parentRef,
        controllerName: routeController,
        conditions: mergedConditions(before, { types, conditions }, generation, now) ?? before,
      }
    }),
  ]
  return isDeepStrictEqual(merged, existing) ? undefined : merged
}
