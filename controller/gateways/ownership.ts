import type { Collection, Custom, Namespace, Service } from '#kube'
import type { Gateway } from '../collections/index.ts'
import { type BuiltInClass, classOf } from './classes.ts'
import { names } from './names.ts'
import { defaultRevisionOf, defaultValidator, isMine, isTagService, tagsFrom } from './revision.ts'

/** What it depends on whose a Gateway is. */
export type OwnershipTables = Readonly<{
  classes: Collection<Custom>
  namespaces: Collection<Namespace>
  services: Collection<Service>
  /** Mutating webhooks that are a tag, and the default validator. */
  tags: Collection<Custom>
  validators: Collection<Custom>
  /** Classes that we look after. */
  known: readonly BuiltInClass[]
  /** Ours; revision tags are Services here. */
  namespace: string
  render: Readonly<{ revision: string }>
}>

/** Of a later Istio that took a Gateway over; ours hands off then. */
export const controllerVersion = 5

/** The class that a Gateway is of, when it is one of ours, in our revision, and no later controller has it. */
export function handledClass(gateway: Gateway, tables: OwnershipTables): BuiltInClass | undefined {
  const { classes, namespaces, services, namespace, render } = tables
  const known = classOf(tables.known, gateway.className, classes.get(gateway.className))
  if (known === undefined) return undefined
  // Tags are few, and in one namespace; Gateways are few too.
  const ofTags = services
    .list()
    .filter(({ metadata }) => metadata.namespace === namespace && isTagService(metadata.name ?? ''))
  const tags = tagsFrom(ofTags, tables.tags.list())
  const defaultRevision = defaultRevisionOf(tags, tables.validators.get(defaultValidator))
  const ofNamespace = namespaces.get(gateway.namespace)?.metadata.labels ?? {}
  const ours = { revision: render.revision, tags, defaultRevision }
  if (!isMine(gateway.labels, ofNamespace, ours)) return undefined
  return Number(gateway.annotations[names.controllerVersion] ?? 0) > controllerVersion ? undefined : known
}
