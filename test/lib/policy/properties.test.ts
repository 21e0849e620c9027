import fc from 'fast-check'
import t from 'tap'
import { cidrContains, ip } from '#base'
import { parseSpiffeId, partsOf } from '#identity'
import {
  type Connection,
  decide,
  decodeAuthorization,
  noPolicies,
  policiesFor,
  policyName,
  updatePolicies,
} from '#policy'
import { security } from '#wire'

const names = ['a', 'b', 'ab', '']
const text = fc.oneof(
  fc.constantFrom('exact', 'prefix', 'suffix').chain(($case) =>
    fc.constantFrom(...names).map(
      (value): security.StringMatch => ({
        matchType: { $case: $case as 'exact', value },
      }),
    ),
  ),
  fc.constant<security.StringMatch>({ matchType: { $case: 'presence', value: {} } }),
)
const few = <T>(one: fc.Arbitrary<T>) => fc.array(one, { maxLength: 2 })
const block = fc.record({
  address: fc.constantFrom(Buffer.from([10, 0, 0, 1]), Buffer.from([10, 0, 0, 2])),
  length: fc.constantFrom(0, 8, 31, 32),
})
const account = fc.record({ namespace: fc.constantFrom('a', 'b'), serviceAccount: fc.constantFrom('a', 'b') })
const port = fc.constantFrom(80, 8080)
const match: fc.Arbitrary<security.Match> = fc.record({
  namespaces: few(text),
  notNamespaces: few(text),
  principals: few(text),
  notPrincipals: few(text),
  sourceIps: few(block),
  notSourceIps: few(block),
  destinationIps: few(block),
  notDestinationIps: few(block),
  destinationPorts: few(port),
  notDestinationPorts: few(port),
  serviceAccounts: few(account),
  notServiceAccounts: few(account),
  extensions: fc.constant([]),
})
const policy: fc.Arbitrary<security.Authorization> = fc.record({
  name: fc.constantFrom('p', 'q', 'r'),
  namespace: fc.constant('demo'),
  scope: fc.constant(security.Scope.NAMESPACE),
  action: fc.constantFrom(security.Action.ALLOW, security.Action.DENY),
  rules: few(fc.record({ clauses: few(fc.record({ matches: few(match) })) })),
  dryRun: fc.boolean(),
  extensions: fc.constant([]),
})
const connection: fc.Arbitrary<Connection> = fc.record({
  source: fc.constantFrom(ip('10.0.0.1'), ip('10.0.0.2'), ip('fd00::1')),
  peer: fc.constantFrom(
    undefined,
    parseSpiffeId('spiffe://td/ns/a/sa/a'),
    parseSpiffeId('spiffe://td/ns/ab/sa/b'),
  ),
  destination: fc.record({ address: fc.constantFrom(ip('10.0.0.1'), ip('10.9.9.9')), port }),
})

/** The facts' table, read literally and slowly; shares nothing with the code under test but the CIDR arithmetic. */
function oracle(policies: readonly security.Authorization[], c: Connection): 'allow' | 'deny' {
  const parts = c.peer === undefined ? undefined : partsOf(c.peer)
  const str = (m: security.StringMatch, s: string) => {
    const kind = m.matchType
    if (kind?.$case === 'exact') return kind.value === s
    if (kind?.$case === 'prefix') return s.startsWith(kind.value)
    if (kind?.$case === 'suffix') return s.endsWith(kind.value)
    return s.length > 0
  }
  const inside = (b: security.Address, a: Connection['source']) =>
    cidrContains({ bytes: Uint8Array.from(b.address), length: b.length }, a)
  const matchOne = (m: security.Match) => {
    const checks: [unknown[], boolean, boolean][] = [] // list, negative, some value holds
    const add = <T>(list: T[], negative: boolean, test: (v: T) => boolean) =>
      checks.push([list, negative, list.some(test)])
    const ns = (v: security.StringMatch) => str(v, parts?.namespace ?? '')
    add(m.namespaces, false, ns)
    add(m.notNamespaces, true, ns)
    const principal = (v: security.StringMatch) =>
      c.peer !== undefined && str(v, c.peer.replace('spiffe://', ''))
    add(m.principals, false, principal)
    add(m.notPrincipals, true, principal)
    const sa = (v: security.ServiceAccountMatch) =>
      v.namespace === parts?.namespace && v.serviceAccount === parts.serviceAccount
    add(m.serviceAccounts, false, sa)
    add(m.notServiceAccounts, true, sa)
    add(m.sourceIps, false, (v) => inside(v, c.source))
    add(m.notSourceIps, true, (v) => inside(v, c.source))
    add(m.destinationIps, false, (v) => inside(v, c.destination.address))
    add(m.notDestinationIps, true, (v) => inside(v, c.destination.address))
    add(m.destinationPorts, false, (v) => v === c.destination.port)
    add(m.notDestinationPorts, true, (v) => v === c.destination.port)
    if (checks.every(([list]) => list.length === 0)) return false
    return checks.every(([list, negative, some]) => list.length === 0 || some !== negative)
  }
  const holds = (p: security.Authorization) => {
    for (const rule of p.rules)
      if (rule.clauses.every((clause) => clause.matches.length === 0 || clause.matches.some(matchOne)))
        return true
    return false
  }
  const real = policies.filter((p) => !p.dryRun)
  if (real.some((p) => p.action === security.Action.DENY && holds(p))) return 'deny'
  const allows = real.filter((p) => p.action === security.Action.ALLOW)
  return allows.length === 0 || allows.some(holds) ? 'allow' : 'deny'
}

const encode = (p: security.Authorization) => security.Authorization.encode(p).finish()
const parse = (policies: readonly security.Authorization[]) =>
  policies.map((p) => decodeAuthorization(`${p.namespace}/${p.name}`, encode(p)))

t.test('every verdict is the one of a naive reading of the semantics', async (t) => {
  fc.assert(
    fc.property(fc.array(policy, { maxLength: 3 }), connection, (policies, c) => {
      return decide(parse(policies), c).verdict === oracle(policies, c)
    }),
    { numRuns: 3000 },
  )
  t.pass('3000 cases')
})

type Spoil = (m: security.Match) => security.Match
const spoil: fc.Arbitrary<Spoil> = fc.constantFrom<Spoil>(
  (m) => ({ ...m, namespaces: [...m.namespaces, { matchType: undefined }] }),
  (m) => ({ ...m, notNamespaces: [...m.notNamespaces, { matchType: undefined }] }),
  (m) => ({ ...m, notPrincipals: [{ matchType: undefined }] }),
  (m) => ({ ...m, principals: [{ matchType: undefined }] }),
  (m) => ({ ...m, sourceIps: [...m.sourceIps, { address: Buffer.from([1]), length: 4 }] }),
  (m) => ({ ...m, notDestinationIps: [{ address: Buffer.alloc(4), length: 99 }] }),
  (m) => ({ ...m, destinationPorts: [...m.destinationPorts, 70_000] }),
  (m) => ({ ...m, notServiceAccounts: [{ namespace: '', serviceAccount: '' }] }),
  (m) => ({ ...m, extensions: [{ name: 'x', config: undefined }] }),
)
t.test('adding garbage to a policy never widens access', async (t) => {
  fc.assert(
    fc.property(
      fc.array(policy, { minLength: 1, maxLength: 3 }),
      connection,
      spoil,
      fc.nat(2),
      (policies, c, harm, n) => {
        const spoilt = policies.map((p, i) =>
          i !== n % policies.length
            ? p
            : {
                ...p,
                rules: p.rules.map((r) => ({
                  clauses: r.clauses.map((cl) => ({ matches: cl.matches.map(harm) })),
                })),
              },
        )
        return !(
          decide(parse(policies), c).verdict === 'deny' && decide(parse(spoilt), c).verdict === 'allow'
        )
      },
    ),
    { numRuns: 3000 },
  )
  t.pass('3000 cases')
})

t.test('no bytes make the parser throw, and unreadable bytes deny', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), connection, (bytes, c) => {
      const decided = decodeAuthorization('demo/p', bytes)
      return decided.problems.length === 0 || decide([decided], c).verdict === 'deny'
    }),
    { numRuns: 3000 },
  )
  t.pass('3000 cases')
})

t.test(
  'a workload is judged by its namespace, the global and the named policies, and by no other',
  async (t) => {
    const held = parse([
      { ...base('ns'), scope: security.Scope.NAMESPACE },
      { ...base('everywhere'), namespace: 'istio-system', scope: security.Scope.GLOBAL },
      { ...base('elsewhere'), namespace: 'other', scope: security.Scope.NAMESPACE },
      { ...base('picked'), scope: security.Scope.WORKLOAD_SELECTOR },
      { ...base('not-picked'), scope: security.Scope.WORKLOAD_SELECTOR },
    ])
    const policies = updatePolicies(noPolicies, held, [])
    const named = [policyName('demo', 'picked'), policyName('demo', 'late')]
    const { applicable, missing } = policiesFor(policies, { namespace: 'demo', authorizationPolicies: named })
    t.same(applicable.map((p) => p.name).sort(), ['demo/ns', 'demo/picked', 'istio-system/everywhere'])
    t.same(missing, ['demo/late'])
    const after = updatePolicies(policies, [], [policyName('demo', 'ns')])
    t.notOk(after.byNamespace.has('demo'))
    t.ok(policies.byNamespace.has('demo'), 'the former policies are unchanged')
  },
)

const base = (name: string): security.Authorization => ({
  name,
  namespace: 'demo',
  scope: security.Scope.NAMESPACE,
  action: security.Action.ALLOW,
  rules: [],
  dryRun: false,
  extensions: [],
})
