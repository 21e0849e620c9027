import { at, clone, isObject, isWithinDepth, listAt, objectAt, stringAt } from './json.ts'
import { prune } from './prune.ts'
import type { FieldError, JsonObject, KindType, PrinterColumn, ScalePaths, Schema } from './schema.ts'
import { checkStructural } from './structural.ts'
import { validate } from './validate.ts'

export type CrdKinds =
  | Readonly<{ kinds: readonly KindType[]; warnings: readonly string[] }>
  | Readonly<{ reject: readonly FieldError[] }>

const DEFINITION: Schema = {
  $ref: 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition',
}
const OBJECT_META: Schema = { $ref: 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' }

/** Whatever is no CRD is refused, never thrown. */
export function kindsOfCrd(given: object): CrdKinds {
  if (!isWithinDepth(given))
    return reject('spec', 'FieldValueInvalid', 'Invalid value: "object": nested too deeply')
  const { status: _, ...crd } = prune(DEFINITION, given).value as JsonObject
  const misshapen = validate(DEFINITION, crd)
  if (misshapen.length > 0) return { reject: misshapen }
  const errors = checkNames(crd)
  const warnings: string[] = []
  const kinds: KindType[] = []
  listAt(crd, 'spec', 'versions').forEach((version, i) => {
    const field = `spec.versions[${i}].schema.openAPIV3Schema`
    const given = objectAt(version, 'schema', 'openAPIV3Schema')
    if (!given) {
      errors.push({ field, reason: 'FieldValueRequired', message: 'Required value: schemas are required' })
      return
    }
    const schema: Schema = clone(given)
    const report = checkStructural(schema, field)
    errors.push(...report.errors)
    if (report.errors.length > 0 || at(version, 'served') !== true) return
    const said = warningsFor(crd, i, report.celRules)
    warnings.push(...said)
    kinds.push(kindOf(crd, version, { schema: rooted(schema), warnings: said }))
  })
  return errors.length > 0 ? { reject: errors } : { kinds, warnings }
}

const reject = (field: string, reason: FieldError['reason'], message: string): CrdKinds => ({
  reject: [{ field, reason, message }],
})

function checkNames(crd: object): FieldError[] {
  const errors: FieldError[] = []
  const name = stringAt(crd, 'metadata', 'name') ?? ''
  const group = stringAt(crd, 'spec', 'group') ?? ''
  const plural = stringAt(crd, 'spec', 'names', 'plural') ?? ''
  for (const [field, value] of [
    ['spec.group', group],
    ['spec.names.plural', plural],
    ['spec.names.kind', stringAt(crd, 'spec', 'names', 'kind')],
  ] as const)
    if (!value) errors.push({ field, reason: 'FieldValueRequired', message: 'Required value' })
  if (errors.length === 0 && name !== `${plural}.${group}`)
    errors.push({
      field: 'metadata.name',
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(name)}: must be spec.names.plural+"."+spec.group`,
    })
  const stored = listAt(crd, 'spec', 'versions').filter((version) => at(version, 'storage') === true)
  if (stored.length !== 1)
    errors.push({
      field: 'spec.versions',
      reason: 'FieldValueInvalid',
      message: 'Invalid value: must have exactly one version marked as storage version',
    })
  return errors
}

/** apiVersion, kind and metadata need not be in a CRD's schema, and are not its to change. */
const rooted = (schema: Schema): Schema => ({
  ...schema,
  properties: {
    ...schema.properties,
    apiVersion: { type: 'string' },
    kind: { type: 'string' },
    metadata: OBJECT_META,
  },
})

function kindOf(
  crd: object,
  version: unknown,
  checked: Readonly<{ schema: Schema; warnings: readonly string[] }>,
): KindType {
  const names = objectAt(crd, 'spec', 'names')
  const kind = stringAt(names, 'kind') ?? ''
  const group = stringAt(crd, 'spec', 'group') ?? ''
  const name = stringAt(version, 'name') ?? ''
  const scale = scaleOf(version)
  const columns = columnsOf(version)
  const fields = listAt(version, 'selectableFields').flatMap((field) => stringAt(field, 'jsonPath') ?? [])
  return {
    group,
    version: name,
    kind,
    listKind: stringAt(names, 'listKind') ?? `${kind}List`,
    plural: stringAt(names, 'plural') ?? '',
    singular: stringAt(names, 'singular') ?? kind.toLowerCase(),
    shortNames: strings(names, 'shortNames'),
    categories: strings(names, 'categories'),
    namespaced: stringAt(crd, 'spec', 'scope') !== 'Cluster',
    status: objectAt(version, 'subresources', 'status') !== undefined,
    ...(scale && { scale }),
    schema: checked.schema,
    storage: at(version, 'storage') === true,
    virtual: false,
    custom: true,
    ...(columns.length > 0 && { printerColumns: columns }),
    ...(fields.length > 0 && { selectableFields: fields }),
    ...(at(version, 'deprecated') === true && {
      deprecationWarning: stringAt(version, 'deprecationWarning') ?? `${group}/${name} ${kind} is deprecated`,
    }),
    ...(checked.warnings.length > 0 && { warnings: checked.warnings }),
  }
}

const strings = (value: unknown, key: string): readonly string[] =>
  listAt(value, key).filter((item) => typeof item === 'string')

function scaleOf(version: unknown): ScalePaths | undefined {
  const scale = objectAt(version, 'subresources', 'scale')
  const specReplicas = stringAt(scale, 'specReplicasPath')
  const statusReplicas = stringAt(scale, 'statusReplicasPath')
  const labelSelector = stringAt(scale, 'labelSelectorPath')
  if (!specReplicas || !statusReplicas) return undefined
  return { specReplicas, statusReplicas, ...(labelSelector && { labelSelector }) }
}

function columnsOf(version: unknown): readonly PrinterColumn[] {
  return listAt(version, 'additionalPrinterColumns').flatMap((column) => {
    const name = stringAt(column, 'name')
    const type = stringAt(column, 'type')
    const jsonPath = stringAt(column, 'jsonPath')
    if (!isObject(column) || name === undefined || type === undefined || jsonPath === undefined) return []
    const format = stringAt(column, 'format')
    const description = stringAt(column, 'description')
    const priority = at(column, 'priority')
    return [
      {
        name,
        type,
        jsonPath,
        ...(format !== undefined && { format }),
        ...(description !== undefined && { description }),
        ...(typeof priority === 'number' && { priority }),
      },
    ]
  })
}

/** What of this CRD is accepted, but not done: said, never silent. */
function warningsFor(crd: object, index: number, celRules: number): readonly string[] {
  const warnings: string[] = []
  if (celRules > 0)
    warnings.push(
      `spec.versions[${index}]: ${celRules} x-kubernetes-validations rules are stored, but this server does not evaluate CEL`,
    )
  if (stringAt(crd, 'spec', 'conversion', 'strategy') === 'Webhook')
    warnings.push(
      'spec.conversion: this server calls no conversion webhook; versions are converted by apiVersion only',
    )
  return warnings
}
