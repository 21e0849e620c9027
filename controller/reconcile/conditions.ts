import { isRecord } from '#base'
import type { Condition } from '#kube'

/** What an object's status shall say; conditions of `types` that are not wanted are taken away. */
export type Wanted = Readonly<{ types: readonly string[]; conditions: readonly Condition[] }>

const isCondition = (value: unknown): value is Condition =>
  isRecord(value) && typeof value['type'] === 'string' && typeof value['status'] === 'string'

/** The conditions in a status of unknown shape; what is none is left out. */
export const conditionsOf = (status: unknown): readonly Condition[] => {
  const list: unknown = isRecord(status) ? status['conditions'] : undefined
  return Array.isArray(list) ? list.filter(isCondition) : []
}

const says = (a: Condition, b: Condition) =>
  a.status === b.status && a.reason === b.reason && a.message === b.message

/** The list to write, or undefined when everything is as wanted. Others' conditions keep their place. */
export function mergedConditions(
  existing: readonly Condition[],
  { types, conditions }: Wanted,
  generation: number | undefined,
  now: string,
): readonly Condition[] | undefined {
  const others = existing.filter(({ type }) => !types.includes(type))
  const ours = existing.filter(({ type }) => types.includes(type))
  const same =
    ours.length === conditions.length &&
    conditions.every((wanted) =>
      ours.some(
        (held) => held.type === wanted.type && says(held, wanted) && held.observedGeneration === generation,
      ),
    )
  if (same) return undefined
  return [
    ...others,
    ...conditions.map((wanted) => {
      const held = ours.find(({ type }) => type === wanted.type)
      const since = held?.status === wanted.status ? (held.lastTransitionTime ?? now) : now
      return {
        ...wanted,
        lastTransitionTime: since,
        ...(generation === undefined ? {} : { observedGeneration: generation }),
      }
    }),
  ]
}
