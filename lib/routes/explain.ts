import type { RouteTable } from './choose.ts'
import { type Caller, questionOf, type RouteRequest } from './request.ts'

/** Why one rule does or does not match. */
export type RuleVerdict = Readonly<{
  rule: string
  /** `kind namespace/name`, and which of its rules and matches. */
  origin: string
  matches: boolean
  /** The first part that does not hold. */
  because?: string
}>

/** Every rule up to the one that answers, in order. Looks at them one by one: for people, not for programs. */
export function explainRoute(
  { rules, matches }: RouteTable,
  request: RouteRequest,
  caller: Caller,
): readonly RuleVerdict[] {
  const question = questionOf(request, caller)
  const verdicts: RuleVerdict[] = []
  for (const [ordinal, { name, origin }] of rules.entries()) {
    const failed = matches.checks[ordinal]?.find((check) => !check.holds(question))
    const place = [origin.rule, origin.match].flatMap((n, i) =>
      n === undefined ? [] : [`${i === 0 ? 'rule' : 'match'} ${n}`],
    )
    const from = [`${origin.kind} ${origin.name}`, ...place].join(' ')
    if (failed === undefined) return [...verdicts, { rule: name, origin: from, matches: true }]
    verdicts.push({ rule: name, origin: from, matches: false, because: `not ${failed.says}` })
  }
  return verdicts
}
