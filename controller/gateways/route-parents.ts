import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '#base'
import type { Condition } from '#kube'
import type { Gateway, Words } from '../collections/index.ts'
import { conditionsOf, mergedConditions } from '../reconcile/index.ts'
import { attachment, type AttachingRoute } from './attachment.ts'
import { type BuiltInClass, missingDataPlane } from './classes.ts'
import { gatewayGroup } from './listeners.ts'

/** A Gateway of ours that a route names. */
export type HandledGateway = Readonly<{ gateway: Gateway; known: BuiltInClass }>
/** What a route's status says of one of its parents. */
type ParentEntry = Readonly<{
  parentRef: Readonly<Record<string, unknown>>
  conditions: readonly Condition[]
}>

/** What is said to a route about the Gateways that it names and that are ours to speak for. */
export function parentEntries(
  route: AttachingRoute,
  handled: (gateway: string) => HandledGateway | undefined,
  labelsOf: (namespace: string) => Words | undefined,
): readonly ParentEntry[] {
  return route.parents.flatMap((parent): ParentEntry[] => {
    const own = handled(parent.gateway)
    if (own === undefined || own.known.kind === 'remote') return []
    const found = attachment(route, parent, own.gateway, labelsOf)
    const absent = missingDataPlane(own.known)
    const message = found.kind === 'refused' ? found.message : (absent ?? 'attached')
    const accepted: Condition = {
      type: 'Accepted',
      status: found.kind === 'attached' ? 'True' : 'False',
      reason: found.kind === 'attached' ? 'Accepted' : found.reason,
      message,
    }
    return [{ parentRef: parent.written, conditions: [accepted, notResolved] }]
  })
}

/** Nothing is claimed that nobody has looked at. */
const notResolved: Condition = {
  type: 'ResolvedRefs',
  status: 'Unknown',
  reason: 'Pending',
  message: 'references are not followed as long as no program would serve them',
}

const types = ['Accepted', 'ResolvedRefs']

/**
 * The list of parents to write, or undefined when it says so already. Entries of others stay: those of other controllers,
 * those about Services, and those about Gateways that another revision speaks for.
 */
export function mergedGatewayParents(
  status: unknown,
  wanted: readonly ParentEntry[],
  isOthers: (parentRef: unknown) => boolean,
  controllerName: string,
  generation: number | undefined,
  now: string,
): readonly unknown[] | undefined {
  const parents: unknown = isRecord(status) ? status['parents'] : undefined
  const existing: readonly unknown[] = Array.isArray(parents) ? parents : []
  const isOurs = (entry: unknown): entry is Readonly<Record<string, unknown>> =>
    isRecord(entry) && entry['controllerName'] === controllerName && isOfGateway(entry['parentRef'])
  const written = ({ parentRef, conditions }: ParentEntry, held: unknown) => {
    const before = conditionsOf(held)
    const own = mergedConditions(before, { types, conditions }, generation, now) ?? before
    return { parentRef, controllerName, conditions: own }
  }
  const added = new Set(wanted)
  // Entries keep their places: whoever else writes this list must not see it change for nothing.
  const kept = existing.flatMap((entry): readonly unknown[] => {
    if (!isOurs(entry)) return [entry]
    const own = [...added].find(({ parentRef }) => isDeepStrictEqual(parentRef, entry['parentRef']))
    if (own === undefined) return isOthers(entry['parentRef']) ? [entry] : []
    added.delete(own)
    return [written(own, entry)]
  })
  const merged = [...kept, ...[...added].map((own) => written(own, undefined))]
  return isDeepStrictEqual(merged, existing) ? undefined : merged
}

const isOfGateway = (ref: unknown): boolean => {
  const { group = gatewayGroup, kind = 'Gateway' } = isRecord(ref) ? ref : {}
  return group === gatewayGroup && kind === 'Gateway'
}
