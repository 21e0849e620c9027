/** The types of the API: what each kind looks like, and everything that follows from it. Pure functions. */
export {
  apiVersionOf,
  type FieldError,
  type FieldErrorReason,
  type JsonObject,
  type KindType,
  type PrinterColumn,
  type ScalePaths,
  type Schema,
} from './schema.ts'
/** All stored built-in kinds and the create-only review kinds. */
export { builtinKinds } from './kinds.ts'
/** The served versions of a CRD as kinds, or why its schema is refused. */
export { type CrdKinds, kindsOfCrd } from './crd.ts'
/** Prunes, defaults and validates an object before it is stored. */
export { type FieldValidation, type Prepared, prepare } from './prepare.ts'
/** RFC 6902. */
export { jsonPatch } from './json-patch.ts'
/** RFC 7386. */
export { mergePatch } from './merge-patch.ts'
/** kubectl's patch for built-in kinds: lists merge by key, with $patch directives. */
export { strategicMergePatch } from './strategic-merge-patch.ts'
/** Server-side apply, and the ownership record of all other writes. */
export {
  type Applied,
  type ApplyConflict,
  type ApplyRequest,
  recordUpdate,
  serverSideApply,
  type UpdateRecord,
} from './managed-fields.ts'
/** Reads an `application/vnd.kubernetes.protobuf` body. */
export { decodeProtobuf } from './protobuf.ts'
/** The OpenAPI v3 documents that kubectl validates, applies and explains with. */
export { openApiV3, openApiV3Index } from './openapi.ts'
