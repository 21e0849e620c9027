import { createHash } from 'node:crypto'
import { definition } from './definitions.ts'
import { modelOf } from './kinds.ts'
import { pathsOfKind } from './openapi-paths.ts'
import type { JsonObject, KindType, Schema } from './schema.ts'

const REF = '#/components/schemas/'
const LIST_META = 'io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta'
const PATCH = 'io.k8s.apimachinery.pkg.apis.meta.v1.Patch'
const DELETE_OPTIONS = 'io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions'
const STATUS = 'io.k8s.apimachinery.pkg.apis.meta.v1.Status'
/** Keys of ours that mean nothing to clients. */
const INTERNAL: ReadonlySet<string> = new Set(['nonEmpty', 'emptyIsUnset', 'mayRepeat'])

const hashes = new WeakMap<Schema, string>()

/** GET /openapi/v3: one document per group and version; the hash changes when the document does. */
export function openApiV3Index(kinds: readonly KindType[]): JsonObject {
  const groups = new Map<string, KindType[]>()
  for (const kind of kinds) {
    const path = pathOf(kind.group, kind.version)
    groups.set(path, [...(groups.get(path) ?? []), kind])
  }
  const paths: JsonObject = {}
  for (const path of [...groups.keys()].sort()) {
    const hash = createHash('sha256')
    for (const kind of groups.get(path) ?? []) hash.update(hashOf(kind))
    paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash.digest('hex').toUpperCase()}` }
  }
  return { paths }
}

const pathOf = (group: string, version: string): string =>
  group === '' ? `api/${version}` : `apis/${group}/${version}`

/** Kinds are immutable values; a changed CRD gives a new one. */
function hashOf(kind: KindType): string {
  const known = hashes.get(kind.schema)
  if (known !== undefined) return known
  const { schema, ...rest } = kind
  const hash = createHash('sha256')
    .update(JSON.stringify([rest, schema]))
    .digest('hex')
  hashes.set(kind.schema, hash)
  return hash
}

/** GET /openapi/v3/apis/G/V. A large value: the caller keeps it under the index's hash. */
export function openApiV3(group: string, version: string, kinds: readonly KindType[]): JsonObject {
  const mine = kinds.filter((kind) => kind.group === group && kind.version === version)
  const schemas: JsonObject = {
    [PATCH]: {
      description: 'Patch is provided to give a concrete name and type to the request body.',
      type: 'object',
    },
  }
  const paths: JsonObject = {}
  for (const name of [LIST_META, DELETE_OPTIONS, STATUS]) addDefinition(schemas, name)
  for (const kind of mine) {
    const model = modelName(kind)
    addKind(schemas, kind, model)
    Object.assign(
      paths,
      pathsOfKind(kind, `/${pathOf(group, version)}`, { model, patch: PATCH, status: STATUS }),
    )
  }
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'lateen-sandbox' },
    paths,
    components: { schemas },
  }
}

/** Kubernetes' names: the Go package of built-in kinds, the reversed group of a CRD. */
function modelName(kind: KindType): string {
  const builtin = kind.custom ? undefined : modelOf(kind.group, kind.version, kind.kind)
  return builtin ?? `${kind.group.split('.').toReversed().join('.')}.${kind.version}.${kind.kind}`
}

function addKind(schemas: JsonObject, kind: KindType, model: string): void {
  const gvk = { group: kind.group, version: kind.version, kind: kind.kind }
  const schema = kind.schema.$ref === undefined ? kind.schema : definition(kind.schema.$ref)
  schemas[model] = { ...render(schemas, schema), 'x-kubernetes-group-version-kind': [gvk] }
  if (kind.virtual) return
  schemas[`${model}List`] = {
    description: `${kind.kind}List is a list of ${kind.kind}`,
    type: 'object',
    required: ['items'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { allOf: [{ $ref: `${REF}${LIST_META}` }], default: {} },
      items: { type: 'array', items: { allOf: [{ $ref: `${REF}${model}` }], default: {} } },
    },
    'x-kubernetes-group-version-kind': [{ ...gvk, kind: kind.listKind }],
  }
}

function addDefinition(schemas: JsonObject, name: string): void {
  if (Object.hasOwn(schemas, name)) return
  schemas[name] = {} // a mark first: some definitions mention themselves
  schemas[name] = render(schemas, definition(name))
}

/** Our schema as OpenAPI writes it; definitions on the way are added. */
function render(schemas: JsonObject, schema: Schema): JsonObject {
  const out: JsonObject = {}
  for (const [key, value] of Object.entries(schema)) {
    if (key === '$ref' || INTERNAL.has(key)) continue
    if (key === 'required' && Array.isArray(value) && value.length === 0) continue
    out[key] = renderKeyword(schemas, key, value)
  }
  if (schema.$ref === undefined) return out
  addDefinition(schemas, schema.$ref)
  const ref = { $ref: `${REF}${schema.$ref}` }
  return Object.keys(out).length === 0 ? ref : { ...out, allOf: [ref] }
}

function renderKeyword(schemas: JsonObject, key: string, value: unknown): unknown {
  switch (key) {
    case 'properties':
      return Object.fromEntries(
        Object.entries(value as Readonly<Record<string, Schema>>).map(([name, child]) => [
          name,
          render(schemas, child),
        ]),
      )
    case 'items':
    case 'not':
      return render(schemas, value as Schema)
    case 'additionalProperties':
      return typeof value === 'object' ? render(schemas, value as Schema) : value
    case 'allOf':
    case 'anyOf':
    case 'oneOf':
      return (value as readonly Schema[]).map((part) => render(schemas, part))
    default:
      return value
  }
}
