import type { Custom, KubeObject, Service } from '#kube'
import { nameOf, type Words } from './names.ts'

/** Who we are among several controllers in one cluster. */
export type Revision = Readonly<{
  revision: string
  /** Other names of revisions, ours and others'. */
  tags: ReadonlyMap<string, string>
  /** Whose the objects are that name none. */
  defaultRevision: string
}>

const tagLabel = 'istio.io/tag'
const revisionLabel = 'istio.io/rev'
/** Its label says which revision is the default one, where no tag `default` does. */
export const defaultValidator = 'istiod-default-validator'
const tagService = 'istiod-revision-tag-'

export const isTagService = (name: string): boolean => name.startsWith(tagService)

/** Tags are Services `istiod-revision-tag-<tag>` or mutating webhooks that name a revision; a Service counts for more. */
export function tagsFrom(
  services: readonly Service[],
  webhooks: readonly Custom[],
): ReadonlyMap<string, string> {
  const named = (object: KubeObject) => {
    const { [tagLabel]: tag, [revisionLabel]: revision } = object.metadata.labels ?? {}
    return tag && revision ? [[tag, revision] as const] : []
  }
  return new Map([
    ...webhooks.flatMap(named),
    ...services.flatMap((service) =>
      named(service).filter(([tag]) => nameOf(service) === `${tagService}${tag}`),
    ),
  ])
}

/** The owner of the tag `default`, else what the default validator says, else the revision without a name. */
export const defaultRevisionOf = (tags: ReadonlyMap<string, string>, validator: Custom | undefined): string =>
  tags.get('default') || validator?.metadata.labels?.[revisionLabel] || 'default'

/**
 * Whether an object is this revision's: its own label counts, else its namespace's, as a revision or as a tag. An object
 * without any belongs to the default revision.
 */
export function isMine(
  own: Words,
  ofNamespace: Words,
  { revision, tags, defaultRevision }: Revision,
): boolean {
  const named = own[revisionLabel] || ofNamespace[revisionLabel]
  if (!named) return defaultRevision === revision
  return named === revision || tags.get(named) === revision
}
