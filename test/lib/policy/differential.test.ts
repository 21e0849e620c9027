import t, { type Test } from 'tap'
import type { Authorization, MatchFields } from '#policy'
import type { security } from '#wire'
import { oracle, type Call, type Resource, type Workload } from './oracle.ts'
import { production, seed } from './production.ts'
import { call, type Choices, choices, encode, mutate, policy, spoil, workload } from './random-policies.ts'

const cases = 100_000
const unreadableCases = 50_000
const callsPerSet = 10

type Make = (c: Choices) => Resource
const wellFormed: Make = (c) => {
  const p = policy(c)
  return { name: `${p.namespace}/${p.name}`, bytes: encode(p) }
}
const harmed: Make = (c) => {
  const p = policy(c)
  const rules = p.rules.map(({ clauses }) => ({
    clauses: clauses.map(({ matches }) => ({
      matches: matches.map((m) => (c.chance(0.4) ? spoil(m, c) : m)),
    })),
  }))
  const enums = c.chance(0.15)
    ? { action: c.pick(2, 7, -1) as security.Action }
    : c.chance(0.15)
      ? { scope: c.pick(3, 9, -1) as security.Scope }
      : {}
  const bytes = encode({ ...p, rules, ...enums })
  return { name: `${p.namespace}/${p.name}`, bytes: c.chance(0.5) ? mutate(bytes, c) : bytes }
}

/** Sets of policies with unlike names, each asked about several calls. */
function* worlds(make: Make, count: number, salt: number) {
  for (let n = 0; n < count; n++) {
    const c = choices(seed * 1_000_003 + salt * 7919 + n)
    const resources = [
      ...new Map(Array.from({ length: c.below(4) }, () => make(c)).map((r) => [r.name, r])).values(),
    ]
    yield {
      n,
      c,
      resources,
      workload: workload(c),
      calls: Array.from({ length: callsPerSet }, () => call(c)),
    }
  }
}
const told = (world: { n: number; resources: readonly Resource[]; workload: Workload }, c: Call) =>
  JSON.stringify({
    seed,
    n: world.n,
    resources: world.resources.map(({ name, bytes }) => [name, Buffer.from(bytes).toString('hex')]),
    workload: world.workload,
    call: c,
  })

/** The first case in which the two differ, and how often each answer was given. */
function compare(make: Make, count: number, salt: number, judge = production) {
  const answers: Record<string, number> = {}
  for (const world of worlds(make, count / callsPerSet, salt)) {
    const ask = judge(world.resources, world.workload)
    for (const c of world.calls) {
      const { by, ...answer } = ask(c)
      const key = by.includes('/') ? `${answer.verdict} by a policy` : `${answer.verdict} by ${by}`
      answers[key] = (answers[key] ?? 0) + 1
      if (answer.denying.length + answer.allowing.length > 0)
        answers['dry-run'] = (answers['dry-run'] ?? 0) + 1
      const want = oracle(world.resources, world.workload, c)
      if (JSON.stringify(answer) !== JSON.stringify(want))
        return { answers, difference: `${JSON.stringify({ answer, want })} for ${told(world, c)}` }
    }
  }
  return { answers, difference: undefined }
}
const often = (t: Test, answers: Record<string, number>, least: number) => {
  const kinds = [
    'allow by no-allow-policies',
    'allow by a policy',
    'deny by a policy',
    'deny by nothing-allowed',
    'deny by policy-not-received',
    'dry-run',
  ]
  for (const kind of kinds) t.ok((answers[kind] ?? 0) > least, `${answers[kind]} times ${kind}`)
}

t.test(`${cases} well-formed cases: two evaluators, one answer`, async (t) => {
  const { difference, answers } = compare(wellFormed, cases, 1)
  t.equal(difference, undefined)
  often(t, answers, cases / 100)
})

t.test(`${unreadableCases} cases with parts that cannot be read: two evaluators, one answer`, async (t) => {
  const { difference, answers } = compare(harmed, unreadableCases, 2)
  t.equal(difference, undefined)
  often(t, answers, unreadableCases / 1000)
})

const edit = (p: Authorization, change: (fields: MatchFields) => MatchFields | 'never'): Authorization => ({
  ...p,
  rules: p.rules.map((rule) =>
    rule.map((clause) => clause.map((m) => (typeof m === 'string' ? m : change(m)))),
  ),
})
const defects: Record<string, (p: Authorization) => Authorization> = {
  'negated principals are forgotten': (p) =>
    edit(p, (m) => ({ ...m, principals: { ...m.principals, none: [] } })),
  'ports are cut to 8 bits': (p) =>
    edit(p, (m) => ({
      ...m,
      destinationPorts: { ...m.destinationPorts, any: m.destinationPorts.any.map((n) => n & 255) },
    })),
  'a block is one bit too long': (p) =>
    edit(p, (m) => ({
      ...m,
      sourceIps: {
        ...m.sourceIps,
        any: m.sourceIps.any.map((b) => ({ ...b, length: Math.min(b.length + 1, b.bytes.length * 8) })),
      },
    })),
  'a prefix is taken for a suffix': (p) =>
    edit(p, (m) => ({
      ...m,
      namespaces: {
        ...m.namespaces,
        any: m.namespaces.any.map((s) => (s.kind === 'prefix' ? { ...s, kind: 'suffix' } : s)),
      },
    })),
  'an account is looked up in its namespace only': (p) =>
    edit(p, (m) => ({ ...m, serviceAccounts: { any: [], none: m.serviceAccounts.none } })),
  'only the first rule counts': (p) => ({ ...p, rules: p.rules.slice(0, 1) }),
  'a rule without clauses holds for nobody': (p) => ({
    ...p,
    rules: p.rules.filter((rule) => rule.length > 0),
  }),
  'a clause without matches fails': (p) => ({
    ...p,
    rules: p.rules.map((rule) => rule.map((clause) => (clause.length === 0 ? (['never'] as const) : clause))),
  }),
  'a policy on trial is enforced': (p) => ({ ...p, dryRun: false }),
  'a global policy is one of its namespace': (p) => ({
    ...p,
    scope: p.scope === 'global' ? 'namespace' : p.scope,
  }),
}
for (const [name, harm] of Object.entries(defects)) {
  t.test(`a seeded defect is seen: ${name}`, async (t) => {
    const judge = (resources: readonly Resource[], to: Workload) => production(resources, to, harm)
    t.ok(compare(wellFormed, 20_000, 3, judge).difference)
  })
}
