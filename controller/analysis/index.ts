import type { KubeObject } from '#kube'
import type { Settings } from '../collections/index.ts'
import { conditionMessages } from './conditions.ts'
import type { Message } from './message.ts'
import { annotationMessages, portMessages } from './names.ts'
import { schemaMessages } from './schema.ts'
import { selectorMessages, subsetMessages } from './selection.ts'
import { unheardRoutes, unheededHosts } from './unheard-routes.ts'
import { virtualServiceMessages } from './virtual-services.ts'
import { worldOf } from './world.ts'

export type { Level, Message, MessageName } from './message.ts'

const analyzers = [
  schemaMessages,
  conditionMessages,
  unheardRoutes,
  unheededHosts,
  virtualServiceMessages,
  subsetMessages,
  selectorMessages,
  annotationMessages,
  portMessages,
]

/**
 * What of these objects does not come to what their owners may think, in order of the objects' names. Pure: files will do,
 * or everything that an API server has; kinds that are not ours are left alone.
 */
export function analyze(objects: readonly KubeObject[], settings: Settings): readonly Message[] {
  const world = worldOf(objects, settings)
  const found = analyzers.flatMap((one) => one(world))
  // What is wrong with a route is so for each of its parents.
  const once = new Map(found.map((one) => [`${one.resource} ${one.code} ${one.text}`, one]))
  return [...once.values()].sort(
    (a, b) => compared(a.resource, b.resource) || compared(a.code, b.code) || compared(a.text, b.text),
  )
}

const compared = (a: string, b: string) => (a === b ? 0 : a < b ? -1 : 1)
