/**
 * Makes data/definitions.json and data/protobuf.json from Kubernetes' own Go type declarations.
 * Usage: node sandbox/api/types/generate.ts <folder that holds k8s.io/>; see README.md for where to get it.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type GoField, type GoPackage, type GoType, readGoPackage } from './go-source.ts'
import type { Schema } from './schema.ts'

const META = 'k8s.io/apimachinery/pkg/apis/meta/v1'
const EXTENSIONS = 'k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1'
const META_NAME = 'io.k8s.apimachinery.pkg.apis.meta.v1'
const EXTENSIONS_NAME = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1'

const ROOTS: Readonly<Record<string, string>> = {
  'k8s.io/api/core/v1':
    'Pod Service Namespace Node ConfigMap Secret ServiceAccount Event Endpoints PersistentVolume PersistentVolumeClaim ' +
    'ReplicationController ResourceQuota LimitRange PodTemplate Binding',
  'k8s.io/api/apps/v1': 'Deployment ReplicaSet DaemonSet StatefulSet ControllerRevision',
  'k8s.io/api/batch/v1': 'Job CronJob',
  'k8s.io/api/discovery/v1': 'EndpointSlice',
  'k8s.io/api/coordination/v1': 'Lease',
  'k8s.io/api/rbac/v1': 'Role RoleBinding ClusterRole ClusterRoleBinding',
  'k8s.io/api/admissionregistration/v1':
    'ValidatingWebhookConfiguration MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding',
  'k8s.io/api/policy/v1': 'PodDisruptionBudget Eviction',
  'k8s.io/api/autoscaling/v1': 'Scale',
  'k8s.io/api/autoscaling/v2': 'HorizontalPodAutoscaler',
  'k8s.io/api/networking/v1': 'NetworkPolicy Ingress IngressClass',
  'k8s.io/api/scheduling/v1': 'PriorityClass',
  'k8s.io/api/storage/v1': 'StorageClass',
  'k8s.io/api/events/v1': 'Event',
  'k8s.io/api/authentication/v1': 'TokenReview TokenRequest SelfSubjectReview',
  'k8s.io/api/authorization/v1':
    'SubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview LocalSubjectAccessReview',
  [META]: 'DeleteOptions Status ObjectMeta ListMeta',
  [EXTENSIONS]: 'CustomResourceDefinition',
}

/** Types whose JSON is not what their Go fields say. */
const SPECIAL: Readonly<Record<string, Schema>> = {
  'io.k8s.apimachinery.pkg.api.resource.Quantity': {
    format: 'quantity',
    oneOf: [{ type: 'string' }, { type: 'number' }],
  },
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': {
    format: 'int-or-string',
    'x-kubernetes-int-or-string': true,
    oneOf: [{ type: 'integer' }, { type: 'string' }],
  },
  [`${META_NAME}.Time`]: { type: 'string', format: 'date-time' },
  [`${META_NAME}.MicroTime`]: { type: 'string', format: 'date-time' },
  [`${META_NAME}.Duration`]: { type: 'string' },
  [`${META_NAME}.FieldsV1`]: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  'io.k8s.apimachinery.pkg.runtime.RawExtension': {
    type: 'object',
    'x-kubernetes-preserve-unknown-fields': true,
  },
  [`${EXTENSIONS_NAME}.JSON`]: { 'x-kubernetes-preserve-unknown-fields': true },
  [`${EXTENSIONS_NAME}.JSONSchemaPropsOrBool`]: {
    anyOf: [{ $ref: `${EXTENSIONS_NAME}.JSONSchemaProps` }, { type: 'boolean' }],
  },
  [`${EXTENSIONS_NAME}.JSONSchemaPropsOrArray`]: {
    anyOf: [
      { $ref: `${EXTENSIONS_NAME}.JSONSchemaProps` },
      { type: 'array', items: { $ref: `${EXTENSIONS_NAME}.JSONSchemaProps` } },
    ],
  },
  [`${EXTENSIONS_NAME}.JSONSchemaPropsOrStringArray`]: {
    anyOf: [{ $ref: `${EXTENSIONS_NAME}.JSONSchemaProps` }, { type: 'array', items: { type: 'string' } }],
  },
}

/** Constants that are declared by naming one of another package. */
const ELSEWHERE: Readonly<Record<string, readonly string[]>> = { AddressType: ['IPv4', 'IPv6'] }

const SCALARS: Readonly<Record<string, [schema: Schema, wire: string]>> = {
  string: [{ type: 'string' }, 'string'],
  bool: [{ type: 'boolean' }, 'bool'],
  int: [{ type: 'integer', format: 'int32' }, 'int'],
  int32: [{ type: 'integer', format: 'int32' }, 'int'],
  uint32: [{ type: 'integer', format: 'int64' }, 'int'],
  int64: [{ type: 'integer', format: 'int64' }, 'int'],
  float64: [{ type: 'number', format: 'double' }, 'double'],
  '[]byte': [{ type: 'string', format: 'byte' }, 'bytes'],
}

/** A Go type as JSON schema and as what stands on the wire. */
type Shape = Readonly<{ schema: Schema; wire: string }>

class Generator {
  readonly definitions: Record<string, Schema> = {}
  readonly messages: Record<string, Record<string, [json: string, wire: string]>> = {}
  readonly #root: string
  readonly #packages = new Map<string, GoPackage>()

  constructor(root: string) {
    this.#root = root
  }

  package(path: string): GoPackage {
    const known = this.#packages.get(path)
    if (known) return known
    const read = readGoPackage(this.#root, path)
    this.#packages.set(path, read)
    return read
  }

  /** Adds the definition of a struct, and of all that it mentions; returns its name. */
  define(pkg: GoPackage, type: GoType): string {
    const name = definitionName(pkg.path, type.name)
    if (this.definitions[name]) return name
    const special = SPECIAL[name]
    const description = type.doc.text
    this.definitions[name] = special ? { ...special, description } : { description }
    if (special) {
      if (name.includes('JSONSchemaPropsOr')) this.define(pkg, mustType(pkg, 'JSONSchemaProps'))
      return name
    }
    const properties: Record<string, Schema> = {}
    const required: string[] = []
    this.messages[name] = {}
    this.#fields(pkg, type, { properties, required, message: this.messages[name] })
    this.definitions[name] = {
      description,
      type: 'object',
      ...(Object.keys(properties).length > 0 && { properties }),
      ...(required.length > 0 && { required }),
      ...(type.doc.markers.get('structType')?.[0] === 'atomic' && {
        'x-kubernetes-map-type': 'atomic' as const,
      }),
    }
    return name
  }

  #fields(
    pkg: GoPackage,
    type: GoType,
    out: {
      properties: Record<string, Schema>
      required: string[]
      message: Record<string, [json: string, wire: string]> | undefined
    },
  ): void {
    for (const field of type.fields ?? []) {
      const [json = '', ...options] = (field.tags.get('json') ?? '').split(',')
      const number = /^\w+,(\d+)/.exec(field.tags.get('protobuf') ?? '')?.[1]
      if (json === '-') continue
      const shape = this.shape(pkg, field.type)
      if (options.includes('inline') || (json === '' && field.embedded)) {
        // On the wire it is a message of its own, in JSON its fields are ours.
        const [owner, inner] = this.resolve(pkg, field.type.replace('*', ''))
        this.#fields(owner, inner, { ...out, message: undefined })
        if (number && out.message) out.message[number] = ['', shape.wire]
        continue
      }
      if (json === '') continue
      const optional =
        options.includes('omitempty') || options.includes('omitzero') || field.doc.markers.has('optional')
      if (!optional) out.required.push(json)
      out.properties[json] = decorate(field, shape.schema)
      const omitted = options.includes('omitempty') && !field.type.startsWith('*') && isScalar(shape.wire)
      if (number && out.message) out.message[number] = [json, omitted ? `${shape.wire}?` : shape.wire]
    }
  }

  resolve(pkg: GoPackage, type: string): [GoPackage, GoType] {
    const [alias, name] = type.includes('.') ? type.split('.') : [undefined, type]
    const owner =
      alias === undefined ? pkg : this.package(pkg.imports.get(alias) ?? `unknown import ${alias}`)
    return [owner, mustType(owner, name ?? type)]
  }

  shape(pkg: GoPackage, go: string): Shape {
    const type = go.replace(/^\*/, '')
    const scalar = SCALARS[type]
    if (scalar) return { schema: scalar[0], wire: scalar[1] }
    if (type.startsWith('[]')) {
      const item = this.shape(pkg, type.slice(2))
      return { schema: { type: 'array', items: item.schema }, wire: `[]${item.wire}` }
    }
    const map = /^map\[[\w.]+\](.+)$/.exec(type)
    if (map?.[1]) {
      const value = this.shape(pkg, map[1])
      return { schema: { type: 'object', additionalProperties: value.schema }, wire: `map:${value.wire}` }
    }
    const [owner, declared] = this.resolve(pkg, type)
    if (declared.underlying === undefined) {
      const name = this.define(owner, declared)
      return { schema: { $ref: name }, wire: name }
    }
    const underlying = this.shape(owner, declared.underlying)
    // A named list of strings is a message of its own on the wire, unless it stands in for repeated messages.
    if (underlying.wire === '[]string') return { schema: underlying.schema, wire: 'strings' }
    if (!declared.doc.markers.has('enum')) return underlying
    return {
      schema: { ...underlying.schema, enum: enumOf(declared) },
      wire: underlying.wire,
    }
  }
}

const enumOf = (type: GoType): readonly string[] =>
  [...new Set([...type.constants, ...(ELSEWHERE[type.name] ?? [])])].sort()

const isScalar = (wire: string) => ['string', 'bool', 'int', 'double', 'bytes'].includes(wire)

function mustType(pkg: GoPackage, name: string): GoType {
  const type = pkg.types.get(name)
  if (!type) throw new Error(`${pkg.path} has no type ${name}`)
  return type
}

const definitionName = (path: string, type: string): string =>
  `${path.replace(/^k8s\.io/, 'io.k8s').replaceAll('/', '.')}.${type}`

/** Adds what the field's own comment and tags say. */
function decorate(field: GoField, schema: Schema): Schema {
  const { markers, text } = field.doc
  const marker = (name: string) => markers.get(name)?.[0]
  const listType = marker('listType')
  const fallback = marker('default') ?? marker('kubebuilder:default')
  const mapType = marker('mapType') ?? marker('structType')
  const strategy = field.tags.get('patchStrategy')
  const mergeKey = field.tags.get('patchMergeKey')
  return {
    ...schema,
    ...(text && { description: text }),
    ...(fallback?.startsWith('ref(') === false && { default: JSON.parse(fallback) as unknown }),
    ...(isListType(listType) && { 'x-kubernetes-list-type': listType }),
    ...(markers.has('listMapKey') && { 'x-kubernetes-list-map-keys': markers.get('listMapKey') ?? [] }),
    ...((mapType === 'atomic' || mapType === 'granular') && { 'x-kubernetes-map-type': mapType }),
    ...(mergeKey !== undefined && { 'x-kubernetes-patch-merge-key': mergeKey }),
    ...(strategy !== undefined && { 'x-kubernetes-patch-strategy': strategy }),
  }
}

const isListType = (value: string | undefined): value is 'atomic' | 'set' | 'map' =>
  value === 'atomic' || value === 'set' || value === 'map'

/** One definition per line, so that a version bump gives a readable difference. */
function writeLines(file: string, table: Readonly<Record<string, unknown>>): void {
  const lines = Object.keys(table)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${JSON.stringify(table[name])}`)
  writeFileSync(file, `{\n${lines.join(',\n')}\n}\n`)
}

const generator = new Generator(process.argv[2] ?? '.')
for (const [path, types] of Object.entries(ROOTS)) {
  const pkg = generator.package(path)
  for (const type of types.split(' ')) generator.define(pkg, mustType(pkg, type))
}
const data = join(import.meta.dirname, 'data')
mkdirSync(data, { recursive: true })
writeLines(join(data, 'definitions.json'), generator.definitions)
writeLines(join(data, 'protobuf.json'), generator.messages)
