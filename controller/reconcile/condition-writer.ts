import type { KubeObject } from '#kube'
import { conditionsOf, mergedConditions, type Wanted } from './conditions.ts'
import type { Writer } from './lead.ts'
import { statusWriter, type StatusWriterOptions } from './status-writer.ts'

type ConditionWriterOptions<T extends KubeObject> = StatusWriterOptions<T> &
  Readonly<{
    /** What the object's status shall say now. */
    wanted: (object: T, key: string) => Wanted
  }>

/** Keeps our conditions on the objects of one kind as they are wanted. */
export const conditionWriter = <T extends KubeObject & Readonly<{ status?: unknown }>>({
  wanted,
  ...options
}: ConditionWriterOptions<T>): Writer =>
  statusWriter(
    'conditions',
    (object, key, time) => {
      const held = conditionsOf(object.status)
      const conditions = mergedConditions(held, wanted(object, key), object.metadata.generation, time)
      return conditions && { conditions }
    },
    options,
  )
