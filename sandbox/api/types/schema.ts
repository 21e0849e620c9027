/** A JSON object from a client or from the store. */
export type JsonObject = { [key: string]: unknown }

/** One validation rule written in CEL; named in warnings, not evaluated. */
type CelRule = Readonly<{ rule: string; message?: string }>

/**
 * Kubernetes' own schema vocabulary (OpenAPI v3 with x-kubernetes extensions), for built-in kinds and CRDs alike.
 * `$ref` names a definition of the built-in data; schemas of CRDs use it for metadata only.
 */
export type Schema = Readonly<{
  $ref?: string
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  format?: string
  description?: string
  properties?: Readonly<Record<string, Schema>>
  required?: readonly string[]
  additionalProperties?: Schema | boolean
  items?: Schema
  enum?: readonly unknown[]
  default?: unknown
  nullable?: boolean
  pattern?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: boolean
  exclusiveMaximum?: boolean
  multipleOf?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  minProperties?: number
  maxProperties?: number
  uniqueItems?: boolean
  allOf?: readonly Schema[]
  anyOf?: readonly Schema[]
  oneOf?: readonly Schema[]
  not?: Schema
  'x-kubernetes-int-or-string'?: boolean
  'x-kubernetes-preserve-unknown-fields'?: boolean
  'x-kubernetes-embedded-resource'?: boolean
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map'
  'x-kubernetes-list-map-keys'?: readonly string[]
  'x-kubernetes-map-type'?: 'granular' | 'atomic'
  'x-kubernetes-patch-merge-key'?: string
  'x-kubernetes-patch-strategy'?: string
  'x-kubernetes-validations'?: readonly CelRule[]
  /** Ours, built-in kinds only: "" is as bad as nothing. */
  nonEmpty?: boolean
  /** Ours, built-in kinds only: "" is as good as nothing. */
  emptyIsUnset?: boolean
  /** Ours, built-in kinds only: a keyed list that may hold a key twice all the same. */
  mayRepeat?: boolean
}>

/** Where the scale subresource of a kind keeps its numbers. The selector is a string, or an object for built-in kinds. */
export type ScalePaths = Readonly<{ specReplicas: string; statusReplicas: string; labelSelector?: string }>

/** One column of a CRD's own table output. */
export type PrinterColumn = Readonly<{
  name: string
  type: string
  format?: string
  description?: string
  priority?: number
  jsonPath: string
}>

/** Everything that the API server must know about one kind in one version. */
export type KindType = Readonly<{
  group: string
  version: string
  kind: string
  listKind: string
  plural: string
  singular: string
  shortNames: readonly string[]
  categories: readonly string[]
  namespaced: boolean
  /** Whether it has a status subresource (and so the main resource never writes `status`). */
  status: boolean
  scale?: ScalePaths
  schema: Schema
  /** This version is the one to keep on disk. */
  storage: boolean
  /** A question, not an object: only `create`, never stored (TokenReview, SubjectAccessReview …). */
  virtual: boolean
  /** Comes from a CustomResourceDefinition: no strategic merge patch, no protobuf. */
  custom: boolean
  printerColumns?: readonly PrinterColumn[]
  /** JSON paths that a field selector may name besides metadata.name and metadata.namespace. */
  selectableFields?: readonly string[]
  deprecationWarning?: string
  /** Said to whoever creates the CRD: what of it this server does not enforce. */
  warnings?: readonly string[]
}>

/** Kubernetes' cause types of a 422 Invalid. */
export type FieldErrorReason =
  | 'FieldValueRequired'
  | 'FieldValueInvalid'
  | 'FieldValueNotSupported'
  | 'FieldValueTypeInvalid'
  | 'FieldValueDuplicate'
  | 'FieldValueForbidden'
  | 'FieldValueTooLong'
  | 'FieldValueTooMany'

/** One cause of a 422 Invalid; the message does not repeat the field. */
export type FieldError = Readonly<{ field: string; reason: FieldErrorReason; message: string }>

/** apiVersion of a kind: `v1`, `apps/v1`. */
export const apiVersionOf = (kind: Pick<KindType, 'group' | 'version'>): string =>
  kind.group === '' ? kind.version : `${kind.group}/${kind.version}`
