import { nameOf, type Words } from './names.ts'
import type { Service } from '#kube'

/** Who we are among several controllers in one cluster. */
export type Revision = Readonly<{ revision: string; tags: ReadonlyMap<string, string> }>

/** Tags are Services `istiod-revision-tag-<tag>` that name a revision. */
export function tagsFrom(services: readonly Service[]): ReadonlyMap<string, string> {
  const tags = new Map<string, string>()
  for (const service of services) {
    const { 'istio.io/tag': tag, 'istio.io/rev': revision } = service.metadata.labels ?? {}
    if (tag && revision && nameOf(service) === `istiod-revision-tag-${tag}`) tags.set(tag, revision)
  }
  return tags
}

/**
 * Whether an object is this revision's: its own label counts, else its namespace's. An object without any belongs to
 * whoever has the tag `default`, and without such a tag to the revision `default`.
 */
export function isMine(own: Words, ofNamespace: Words, { revision, tags }: Revision): boolean {
  const named = own['istio.io/rev'] || ofNamespace['istio.io/rev'] || 'default'
  return (tags.get(named) ?? named) === revision
}
