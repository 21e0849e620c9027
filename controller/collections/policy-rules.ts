import { isRecord } from '#base'
import type { security } from '#wire'
import { type Alternative, readAlternative, readCondition } from './match.ts'
import { newNotes, type Notes, shown } from './problems.ts'

/** How rules are enforced at L4. */
type EnforcedAs = 'ALLOW' | 'DENY' | 'AUDIT'

/** The rules as ztunnel gets them, and those that differ from what was written. */
export type ReadRules = Readonly<{
  as: EnforcedAs
  rules: readonly security.Rule[]
  changed: readonly ChangedRule[]
}>

/** A rule that is not enforced as written: how instead, and the attributes that would need a waypoint. */
type ChangedRule = Readonly<{ path: string; effect: string; layer7: readonly string[] }>

/** How an action is enforced. What an external authorizer would be asked about is refused (Istio lets it pass). */
const enforcedAs = (action: unknown): EnforcedAs | undefined => {
  if (action === 'CUSTOM') return 'DENY'
  return action === 'ALLOW' || action === 'DENY' || action === 'AUDIT' ? action : undefined
}

/** `spoilt`: something before the rules cannot be read, so it is not known whom to allow. */
export function readRules(
  action: unknown,
  rules: unknown,
  spoilt: boolean,
  notes: Notes,
  namespace: string,
): ReadRules {
  const as = enforcedAs(action)
  if (as === undefined) {
    notes.invalid.push(
      `spec.action: ${shown(action)} is not one of ALLOW, DENY, AUDIT, CUSTOM; taken for an ALLOW that allows nothing`,
    )
    return { as: 'ALLOW', rules: [], changed: [] }
  }
  const whole = { path: 'spec.rules', layer7: [] }
  if (rules !== undefined && rules !== null && !Array.isArray(rules)) {
    notes.invalid.push(`spec.rules: ${shown(rules)} is not a list`)
    const instead = insteadOf(as)
    return { as, rules: instead, changed: [{ ...whole, effect: effectOf(as, instead) }] }
  }
  const list: readonly unknown[] = Array.isArray(rules) ? rules : []
  const read = list.map((rule, i) => readRule(as, rule, `spec.rules[${i}]`, notes, namespace))
  const changed = read.map((one) => one.changed).filter((one) => one !== undefined)
  if (spoilt && as === 'ALLOW') return { as, rules: [], changed: [{ ...whole, effect: effectOf(as, []) }] }
  return { as, rules: read.flatMap((one) => one.rules), changed }
}

/** What stands for a rule of which nothing can be read. A rule without clauses matches everything. */
const insteadOf = (as: EnforcedAs): readonly security.Rule[] => (as === 'DENY' ? [{ clauses: [] }] : [])

function effectOf(as: EnforcedAs, rules: readonly security.Rule[]): string {
  if (as === 'ALLOW') return 'allows nothing'
  if (as === 'AUDIT') return 'audits nothing'
  return rules.some(({ clauses }) => clauses.length === 0) ? 'denies everything' : 'denies more than written'
}

type Rule = Readonly<{ rules: readonly security.Rule[]; changed?: ChangedRule }>

/** One rule, or none if it may not be enforced as it stands. */
function readRule(as: EnforcedAs, rule: unknown, path: string, notes: Notes, namespace: string): Rule {
  const own = newNotes()
  const { clauses, exact } = clausesOf(rule, path, own, namespace)
  notes.invalid.push(...own.invalid)
  const enforced = clauses
    // An alternative without any constraint is true, and so is its clause; ztunnel would read it as never true.
    .filter((alternatives) => !alternatives.some(({ any }) => any))
    .map((alternatives) => ({ matches: alternatives.map(({ match }) => match) }))
  if (exact) return { rules: [{ clauses: enforced }] }
  const rules = as === 'DENY' ? [{ clauses: enforced }] : []
  return { rules, changed: { path, effect: effectOf(as, rules), layer7: [...own.layer7].sort() } }
}

type Clauses = Readonly<{ clauses: readonly (readonly Alternative[])[]; exact: boolean }>

function clausesOf(rule: unknown, path: string, notes: Notes, namespace: string): Clauses {
  if (!isRecord(rule)) {
    notes.invalid.push(`${path}: ${shown(rule)} is not a rule`)
    return { clauses: [], exact: false }
  }
  const { from, to, when, ...rest } = rule
  for (const unknown of Object.keys(rest))
    notes.invalid.push(`${path}.${unknown}: unknown; a rule has from, to and when`)
  const entries = (list: unknown, name: string, read: (entry: unknown, at: string) => Alternative) => {
    if (list === undefined) return []
    if (Array.isArray(list)) return list.map((entry: unknown, i) => read(entry, `${path}.${name}[${i}]`))
    notes.invalid.push(`${path}.${name}: ${shown(list)} is not a list`)
    return [unreadable]
  }
  const source = (entry: unknown, at: string) => readAlternative(entry, at, 'source', notes, namespace)
  const operation = (entry: unknown, at: string) => readAlternative(entry, at, 'operation', notes, namespace)
  const condition = (entry: unknown, at: string) => readCondition(entry, at, notes, namespace)
  const clauses = [
    entries(from, 'from', source),
    entries(to, 'to', operation),
    ...entries(when, 'when', condition).map((alternative) => [alternative]),
  ].filter((alternatives) => alternatives.length > 0)
  const exact = Object.keys(rest).length === 0 && clauses.flat().every((alternative) => alternative.exact)
  return { clauses, exact }
}

/** What stands for a list that cannot be read. */
const unreadable: Alternative = readAlternative(undefined, '', 'source', newNotes(), '')
