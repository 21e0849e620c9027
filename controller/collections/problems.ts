/**
 * What could not be understood or enforced in one policy, collected while it is read: values that mean nothing, such as
 * `spec.rules[0].from[0].source.ipBlocks: "x" is not an address`, and attributes that need a waypoint, such as `methods`.
 */
export type Notes = { readonly invalid: string[]; readonly layer7: Set<string> }

export const newNotes = (): Notes => ({ invalid: [], layer7: new Set() })

/** As much of a value as helps to find it. */
export const shown = (value: unknown): string => (JSON.stringify(value) ?? 'undefined').slice(0, 80)
