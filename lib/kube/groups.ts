/** One member or more. Most sets here have one, and a set of one costs ten times what its member costs. */
export type Few = string | Set<string>

export function including(held: Few | undefined, member: string): Few {
  if (held === undefined || held === member) return member
  return held instanceof Set ? held.add(member) : new Set([held, member])
}

/** Undefined when nobody is left. */
export function excluding(held: Few | undefined, member: string): Few | undefined {
  if (!(held instanceof Set)) return held === member ? undefined : held
  held.delete(member)
  return held.size === 0 ? undefined : held
}

export const membersOf = (held: Few | undefined): Iterable<string> =>
  held === undefined ? [] : typeof held === 'string' ? [held] : held

/** Members per value, without empty sets. */
export class Groups {
  readonly #members = new Map<string, Few>()

  add(value: string, member: string): void {
    const held = this.#members.get(value)
    const next = including(held, member)
    if (next !== held) this.#members.set(value, next)
  }

  remove(value: string, member: string): void {
    const held = this.#members.get(value)
    const next = excluding(held, member)
    if (next === undefined) this.#members.delete(value)
    else if (next !== held) this.#members.set(value, next)
  }

  /** In the order in which they came. */
  of(value: string): Iterable<string> {
    return membersOf(this.#members.get(value))
  }
}
