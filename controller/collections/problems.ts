/** What could not be understood or enforced in one policy, in the order in which it was met. */
export type Problems = Readonly<{
  /** Values that mean nothing: `spec.rules[0].from[0].source.ipBlocks: "x" is not an address`. */
  invalid: readonly string[]
  /** Attributes that need a waypoint, such as `methods`. */
  layer7: readonly string[]
}>

/** Collects problems while a policy is read. */
export type Notes = { readonly invalid: string[]; readonly layer7: Set<string> }

export const newNotes = (): Notes => ({ invalid: [], layer7: new Set() })

/** As much of a value as helps to find it. */
export const shown = (value: unknown): string => (JSON.stringify(value) ?? 'undefined').slice(0, 80)
