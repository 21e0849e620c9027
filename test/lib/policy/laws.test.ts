import t from 'tap'
import { decodeAuthorization, noPolicies, updatePolicies } from '#policy'
import type { security } from '#wire'
import type { Call, Resource, Workload } from './oracle.ts'
import { judgeBy, production, seed } from './production.ts'
import {
  call,
  type Choices,
  choices,
  encode,
  match,
  policy,
  spoil,
  stringMatch,
  workload,
} from './random-policies.ts'

/** Calls `holds` for many random sets; the first that breaks the law, told so that it can be had again. */
function broken(
  count: number,
  salt: number,
  holds: (policies: security.Authorization[], to: Workload, c: Call, choose: Choices) => boolean,
): string | undefined {
  for (let n = 0; n < count; n++) {
    const c = choices(seed * 1_000_003 + salt * 7919 + n)
    const policies = Array.from({ length: 1 + c.below(3) }, (_, i) => ({
      ...policy(c),
      name: 'pqr'[i] ?? '',
    }))
    const [to, from] = [workload(c), call(c)]
    if (!holds(policies, to, from, c)) return `${JSON.stringify({ policies, to, from })} (n=${n})`
  }
  return undefined
}
const resourceOf = (p: security.Authorization): Resource => ({
  name: `${p.namespace}/${p.name}`,
  bytes: encode(p),
})
const verdict = (policies: readonly security.Authorization[], to: Workload, c: Call) =>
  production(policies.map(resourceOf), to)(c).verdict

const laws: Record<string, Parameters<typeof broken>[2]> = {
  'one more DENY never allows more': (policies, to, c, choose) => {
    const more: security.Authorization = { ...policy(choose), name: 's', action: 1, dryRun: false }
    return verdict(policies, to, c) === 'deny' ? verdict([...policies, more], to, c) === 'deny' : true
  },
  'one more value in a list of an ALLOW never denies more': (policies, to, c, choose) => {
    const wider = policies.map((p) => (p.action === 1 ? p : widened(p, choose)))
    return verdict(policies, to, c) === 'allow' ? verdict(wider, to, c) === 'allow' : true
  },
  'one more rule of an ALLOW never denies more, of a DENY never allows more': (policies, to, c, choose) => {
    const [first, ...others] = policies
    if (!first || first.dryRun) return true
    const longer = { ...first, rules: [...first.rules, { clauses: [{ matches: [match(choose)] }] }] }
    const [before, after] = [verdict(policies, to, c), verdict([longer, ...others], to, c)]
    return before === after || after === (first.action === 0 ? 'allow' : 'deny')
  },
  'the order of policies, rules, clauses and matches does not matter': (policies, to, c) => {
    const turned = policies.toReversed().map((p) => ({
      ...p,
      rules: p.rules.toReversed().map((r) => ({
        clauses: r.clauses.toReversed().map((cl) => ({ matches: cl.matches.toReversed() })),
      })),
    }))
    return verdict(policies, to, c) === verdict(turned, to, c)
  },
  'a rule that cannot be read never gives more than its absence': (policies, to, c, choose) => {
    const at = choose.below(policies.length)
    const other = (rules: (p: security.Authorization) => security.Rule[]) =>
      verdict(
        policies.map((p, i) => (i === at ? { ...p, rules: rules(p) } : p)),
        to,
        c,
      )
    const without = other((p) => p.rules.slice(1))
    const spoilt = other((p) => [
      { clauses: [{ matches: [spoil(match(choose), choose)] }] },
      ...p.rules.slice(1),
    ])
    return without === 'deny' ? spoilt === 'deny' : true
  },
  'what is no policy at all denies in the namespace of its name': (policies, to, c, choose) => {
    const garbage = { name: `${to.namespace}/z`, bytes: Uint8Array.of(0x2a, 0xff, choose.below(256)) }
    return production([...policies.map(resourceOf), garbage], to)(c).verdict === 'deny'
  },
  'a policy removed and added again changes nothing': (policies, to, c) => {
    const all = policies.map((p) => decodeAuthorization(`${p.namespace}/${p.name}`, encode(p)))
    const held = updatePolicies(noPolicies, all, [])
    const [first] = all
    if (!first) return true
    const again = updatePolicies(updatePolicies(held, [], [first.name]), [first], [])
    return JSON.stringify(judgeBy(held, to)(c)) === JSON.stringify(judgeBy(again, to)(c))
  },
}
const widened = (p: security.Authorization, choose: Choices): security.Authorization => ({
  ...p,
  rules: p.rules.map((r) => ({
    clauses: r.clauses.map((cl) => ({
      matches: cl.matches.map((m) => ({
        ...m,
        namespaces: m.namespaces.length > 0 ? [...m.namespaces, stringMatch(choose)] : [],
        principals: m.principals.length > 0 ? [...m.principals, stringMatch(choose)] : [],
        destinationPorts: m.destinationPorts.length > 0 ? [...m.destinationPorts, 8080] : [],
      })),
    })),
  })),
})
for (const [index, [law, holds]] of Object.entries(laws).entries()) {
  t.test(`law: ${law}`, async (t) => {
    t.equal(broken(2_500, 10 + index, holds), undefined)
  })
}

t.test(
  '1000 orders of arrival: one final answer, and no call is let through for want of a policy named',
  async (t) => {
    let waited = 0
    const difference = broken(1_000, 30, (policies, _, c, choose) => {
      const selected = policies.map((p): security.Authorization => ({ ...p, namespace: 'demo', scope: 2 }))
      const to = { namespace: 'demo', policies: selected.map(({ name }) => `demo/${name}`) }
      const final = verdict(selected, to, c)
      const rest = selected.map((p) => decodeAuthorization(`demo/${p.name}`, encode(p)))
      let held = noPolicies
      while (rest.length > 0) {
        waited++
        if (judgeBy(held, to)(c).verdict === 'allow') return false
        held = updatePolicies(held, rest.splice(choose.below(rest.length), 1), [])
      }
      return judgeBy(held, to)(c).verdict === final
    })
    t.equal(difference, undefined)
    t.ok(waited > 1_000)
  },
)
