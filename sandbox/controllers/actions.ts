import type { Kind, KubeObject, Ref } from '#kube'

/** What a controller wants done. Plans are values, so that tables can test them; `perform` executes them in order. */
export type Action =
  | Readonly<{
      kind: 'create'
      of: Kind
      /** Without a name but with a generateName the name is made up when it is created. */
      object: KubeObject
      /** Gets the event when the object cannot be created. */
      owner?: KubeObject
    }>
  | Readonly<{ kind: 'patch'; ref: Ref; patch: Readonly<Record<string, unknown>>; subresource?: 'status' }>
  | Readonly<{ kind: 'delete'; ref: Ref; uid: string; force?: boolean }>
  | Readonly<{ kind: 'bind'; pod: KubeObject; node: string }>
  | Readonly<{
      kind: 'event'
      about: KubeObject
      type: 'Normal' | 'Warning'
      reason: string
      message: string
    }>
  /** Look at the same key again, later. */
  | Readonly<{ kind: 'again'; afterMs: number }>

/** The reference of an object as `patch` and `delete` want it. */
export const refTo = (of: Kind, { metadata: { name = '', namespace } }: KubeObject): Ref =>
  namespace === undefined ? { kind: of, name } : { kind: of, name, namespace }

/** Deletes exactly this object, not a later one of the same name. */
export const remove = (of: Kind, object: KubeObject, force = false): Action => ({
  kind: 'delete',
  ref: refTo(of, object),
  uid: object.metadata.uid ?? '',
  ...(force && { force }),
})

/** A Normal event. */
export const normal = (about: KubeObject, reason: string, message: string): Action => ({
  kind: 'event',
  about,
  type: 'Normal',
  reason,
  message,
})

/** A Warning event. */
export const warning = (about: KubeObject, reason: string, message: string): Action => ({
  kind: 'event',
  about,
  type: 'Warning',
  reason,
  message,
})
