import type { Level } from './log.ts'

export const levelOrder: Record<Level | 'off', number> = {
  off: 0,
  error: 1,
  warn: 2,
  info: 3,
  debug: 4,
  trace: 5,
}

type Rules = readonly (readonly [scope: string, level: number])[]

/** Longest filter taken from an operator; every scope named costs each new logger a comparison. */
const maxFilterChars = 4_096

/** `info,access=debug` → rules, most specific first. Throws a RangeError for an unknown level. */
export function parseFilter(text: string): Rules {
  if (text.length > maxFilterChars) throw new RangeError('the log filter is too long')
  const rules = text.split(',').map((part): readonly [string, number] => {
    const [left = '', right] = part.trim().split('=')
    const level = (right ?? left).toLowerCase()
    const rank = Object.hasOwn(levelOrder, level) ? levelOrder[level as Level] : undefined
    if (rank === undefined) throw new RangeError(`unknown log level: ${part}`)
    return [right === undefined ? '' : left, rank]
  })
  return rules.sort(([a], [b]) => b.length - a.length)
}

/** The level of a scope: what the longest rule that covers it says, nothing where none does. */
export const rankOf = (rules: Rules, scope: string): number =>
  rules.find(([prefix]) => prefix === '' || scope === prefix || scope.startsWith(`${prefix}::`))?.[1] ?? 0
