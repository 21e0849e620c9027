import type {
  Authorization,
  Lists,
  Match,
  MatchFields,
  PolicyName,
  Rule,
  TextMatch,
} from './authorization.ts'
import { anyBlock } from './blocks.ts'
import { accountKey, type Subject } from './subject.ts'

/** A policy as it is asked: which of its rules holds for a subject, -1 when none does. */
export type Compiled = Readonly<{
  name: PolicyName
  matchingRule: (subject: Subject) => number
  readsAddresses: boolean
}>

type Test = (subject: Subject) => boolean

/** Work that is done once per policy rather than once per connection. */
export function compile(policy: Authorization): Compiled {
  const rules = policy.rules.map(compileRule)
  return {
    name: policy.name,
    matchingRule: (subject) => {
      for (let i = 0; i < rules.length; i++) if (rules[i]?.(subject)) return i
      return -1
    },
    readsAddresses: policy.rules.some((rule) => rule.some((clause) => clause.some(readsAddresses))),
  }
}

const readsAddresses = (match: Match): boolean =>
  typeof match !== 'string' && !(isEmpty(match.sourceIps) && isEmpty(match.destinationIps))

/** Some match of every clause; a clause without matches holds. */
const compileRule = (rule: Rule): Test =>
  every(rule.filter((clause) => clause.length > 0).map((clause) => some(clause.map(compileMatch))))

function compileMatch(match: Match): Test {
  if (match === 'always') return () => true
  if (match === 'never') return () => false
  const tests = testsOf(match)
  return tests.length === 0 ? () => false : every(tests) // ztunnel skips a match whose lists are all empty
}

/** What a match asks, the cheap questions first; an empty list asks nothing. */
const testsOf = (match: MatchFields): Test[] =>
  [
    ask(match.destinationPorts, (list) => onPort(anyOf(list))),
    ask(match.namespaces, (list) => onNamespace(anyText(list))),
    ask(match.serviceAccounts, (list) => onAccount(anyOf(list.map(accountKey)))),
    ask(match.principals, (list) => onPrincipal(anyText(list))),
    ask(match.sourceIps, (list) => onSource(anyBlock(list))),
    ask(match.destinationIps, (list) => onDestination(anyBlock(list))),
  ].flat()

/** One of `any`, and none of `none`. */
function ask<T>({ any, none }: Lists<T>, test: (list: readonly T[]) => Test): Test[] {
  const tests: Test[] = any.length === 0 ? [] : [test(any)]
  if (none.length === 0) return tests
  const unwanted = test(none)
  return [...tests, (subject) => !unwanted(subject)]
}

const isEmpty = ({ any, none }: Lists<unknown>): boolean => any.length === 0 && none.length === 0

const onPort =
  (holds: (port: number) => boolean): Test =>
  (s) =>
    holds(s.port)
const onNamespace =
  (holds: (namespace: string) => boolean): Test =>
  (s) =>
    holds(s.namespace)
const onAccount =
  (holds: (account: string) => boolean): Test =>
  (s) =>
    s.account !== undefined && holds(s.account)
const onPrincipal =
  (holds: (principal: string) => boolean): Test =>
  (s) =>
    s.principal !== undefined && holds(s.principal)
const onSource =
  (holds: ReturnType<typeof anyBlock>): Test =>
  (s) =>
    holds(s.source)
const onDestination =
  (holds: ReturnType<typeof anyBlock>): Test =>
  (s) =>
    holds(s.destination)

function every(tests: readonly Test[]): Test {
  const [only, ...others] = tests
  if (only !== undefined && others.length === 0) return only
  return (subject) => {
    for (const test of tests) if (!test(subject)) return false
    return true
  }
}

function some(tests: readonly Test[]): Test {
  const [only, ...others] = tests
  if (only !== undefined && others.length === 0) return only
  return (subject) => {
    for (const test of tests) if (test(subject)) return true
    return false
  }
}

function anyOf<T>(list: readonly T[]): (value: T) => boolean {
  const [only] = list
  if (list.length === 1) return (value) => value === only
  const all = new Set(list)
  return (value) => all.has(value)
}

/** Exact texts in one look-up, the others one by one. */
function anyText(list: readonly TextMatch[]): (value: string) => boolean {
  const exact = anyOf(list.flatMap((match) => (match.kind === 'exact' ? [match.value] : [])))
  const others = list.filter(({ kind }) => kind !== 'exact')
  if (others.length === 0) return exact
  return (value) => exact(value) || others.some((match) => textHolds(match, value))
}

function textHolds(match: TextMatch, value: string): boolean {
  switch (match.kind) {
    case 'exact':
      return value === match.value
    case 'prefix':
      return value.startsWith(match.value)
    case 'suffix':
      return value.endsWith(match.value)
    case 'presence':
      return value !== ''
  }
}
