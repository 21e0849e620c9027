import { objectAt, listAt, stringAt } from './json.ts'
import { labelNameError, pathSegmentError, qualifiedNameError, subdomainError } from './names.ts'
import { type Causes, checkImmutable, checkLabels, checkName, invalid, required } from './rules.ts'
import type { JsonObject, KindType } from './schema.ts'

/** All annotations of an object together. */
const MAX_ANNOTATION_BYTES = 256 * 1024

const LABEL_NAMED = new Set(['/Namespace', '/Service'])

/** What holds for the metadata of every object. A missing name is the caller's to refuse: generateName may make one. */
export function checkMetadata(kind: KindType, object: JsonObject, old: JsonObject | undefined): Causes {
  const causes: Causes = []
  const metadata = objectAt(object, 'metadata') ?? {}
  const nameError = nameRuleOf(kind)
  checkName(causes, 'metadata.name', metadata['name'], nameError)
  const prefix = stringAt(metadata, 'generateName')
  if (prefix) checkName(causes, 'metadata.generateName', `${prefix}x`, nameError)
  checkName(causes, 'metadata.namespace', metadata['namespace'], labelNameError)
  checkLabels(causes, 'metadata.labels', objectAt(metadata, 'labels'))
  checkAnnotations(causes, objectAt(metadata, 'annotations') ?? {})
  listAt(metadata, 'finalizers').forEach((name, i) =>
    checkName(causes, `metadata.finalizers[${i}]`, name, qualifiedNameError),
  )
  checkOwners(causes, listAt(metadata, 'ownerReferences'))
  checkImmutable(causes, 'metadata.name', ['metadata', 'name'], object, old)
  checkImmutable(causes, 'metadata.uid', ['metadata', 'uid'], object, old)
  return causes
}

function nameRuleOf(kind: KindType): (text: string) => string | undefined {
  if (kind.group === 'rbac.authorization.k8s.io') return pathSegmentError
  return LABEL_NAMED.has(`${kind.group}/${kind.kind}`) ? labelNameError : subdomainError
}

function checkAnnotations(causes: Causes, annotations: JsonObject): void {
  let bytes = 0
  for (const [key, value] of Object.entries(annotations)) {
    // Annotation keys may be written in capitals (Kubernetes lower-cases them before it looks).
    checkName(causes, 'metadata.annotations', key, (text) => qualifiedNameError(text.toLowerCase()))
    bytes += Buffer.byteLength(key) + (typeof value === 'string' ? Buffer.byteLength(value) : 0)
  }
  if (bytes > MAX_ANNOTATION_BYTES)
    causes.push({
      field: 'metadata.annotations',
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${MAX_ANNOTATION_BYTES} bytes`,
    })
}

function checkOwners(causes: Causes, owners: readonly unknown[]): void {
  const controllers = owners.filter((owner) => objectAt({ owner }, 'owner')?.['controller'] === true)
  owners.forEach((owner, i) => {
    for (const key of ['apiVersion', 'kind', 'name', 'uid'])
      if (!stringAt(owner, key))
        required(causes, `metadata.ownerReferences[${i}].${key}`, `${key} must not be empty`)
  })
  if (controllers.length > 1)
    invalid(
      causes,
      'metadata.ownerReferences',
      owners.length,
      'Only one reference can have Controller set to true',
    )
}
