import { isRecord } from '#base'
import { type Collection, type Custom, derive, type Fetch, type Index } from '#kube'
import { namespaceOf } from '../collections/inputs.ts'

type From = Readonly<{ group: string; kind: string; namespace: string }>
type To = Readonly<{ group: string; kind: string; name: string | undefined }>
type Grant = Readonly<{ namespace: string; from: readonly From[]; to: readonly To[] }>

/** What the namespaces of this cluster let others refer to. */
export type Grants = Index<Grant>

/** By the namespace that grants. What cannot be read of a ReferenceGrant grants nothing. */
export const referenceGrants = (objects: Collection<Custom>): Grants =>
  derive('ReferenceGrants', objects, (object): Grant => {
    const spec = isRecord(object.spec) ? object.spec : {}
    return {
      namespace: namespaceOf(object),
      from: entries(spec['from']).flatMap(({ group, kind, namespace }): readonly From[] =>
        typeof group === 'string' && typeof kind === 'string' && typeof namespace === 'string'
          ? [{ group, kind, namespace }]
          : [],
      ),
      to: entries(spec['to']).flatMap(({ group, kind, name }): readonly To[] =>
        typeof group === 'string' &&
        typeof kind === 'string' &&
        (name === undefined || typeof name === 'string')
          ? [{ group, kind, name: name === '' ? undefined : name }]
          : [],
      ),
    }
  }).indexBy(({ namespace }) => [namespace])

const entries = (value: unknown): readonly Record<string, unknown>[] =>
  (Array.isArray(value) ? value : []).filter((item: unknown) => isRecord(item))

/** Whether objects of one kind and namespace may refer to an object of another namespace: some grant names both. */
export const isGranted = (
  grants: Grants,
  from: From,
  to: Readonly<{ group: string; kind: string; namespace: string; name: string }>,
  fetch: Fetch,
): boolean =>
  from.namespace === to.namespace ||
  fetch
    .by(grants, to.namespace)
    .some(
      (grant) =>
        grant.from.some(
          (one) => one.group === from.group && one.kind === from.kind && one.namespace === from.namespace,
        ) &&
        grant.to.some(
          (one) => one.group === to.group && one.kind === to.kind && (one.name ?? to.name) === to.name,
        ),
    )
