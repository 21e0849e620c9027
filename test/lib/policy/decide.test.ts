import t from 'tap'
import { ip, parseCidr } from '#base'
import { parseSpiffeId } from '#identity'
import {
  applicableOf,
  type Authorization,
  type Connection,
  decide as decideBy,
  explainDecision,
  explainDryRun,
  type Match,
  type MatchFields,
  type PolicyName,
  policyName,
  type Rule,
} from '#policy'

const none = { any: [], none: [] }
const match = (part: Partial<MatchFields>): MatchFields => ({
  namespaces: none,
  principals: none,
  serviceAccounts: none,
  sourceIps: none,
  destinationIps: none,
  destinationPorts: none,
  ...part,
})
const exact = (value: string) => ({ kind: 'exact' as const, value })
const from = (namespace: string) => match({ namespaces: { any: [exact(namespace)], none: [] } })
const one = (m: Match): Rule[] => [[[m]]]
const policy = (
  name: string,
  action: 'allow' | 'deny',
  rules: readonly Rule[],
  dryRun = false,
): Authorization => ({
  name: policyName('demo', name),
  namespace: 'demo',
  scope: 'namespace',
  action,
  rules,
  dryRun,
  problems: [],
})
const connection = (id: string | undefined, port = 8080): Connection => ({
  source: ip('10.0.0.7'),
  peer: id === undefined ? undefined : parseSpiffeId(id),
  destination: { address: ip('10.0.1.9'), port },
})
const shop = connection('spiffe://cluster.local/ns/shop/sa/order')
const plain = connection(undefined)
const block = (text: string) => {
  const parsed = parseCidr(text)
  if (!parsed) throw new Error(text)
  return parsed
}

const decide = (policies: readonly Authorization[], to: Connection, missing: readonly PolicyName[] = []) =>
  decideBy(applicableOf(policies, missing), to)

const policies: [string, Authorization[], Connection, string][] = [
  ['no policy at all allows', [], shop, 'allow by no-allow-policies'],
  ['an allow that misses denies', [policy('a', 'allow', one(from('bank')))], shop, 'deny by nothing-allowed'],
  ['an allow that matches allows', [policy('a', 'allow', one(from('shop')))], shop, 'allow by demo/a'],
  [
    'deny beats allow',
    [policy('a', 'allow', one(from('shop'))), policy('d', 'deny', one(from('shop')))],
    shop,
    'deny by demo/d',
  ],
  ['a deny that misses allows', [policy('d', 'deny', one(from('bank')))], shop, 'allow by no-allow-policies'],
  ['an allow without rules allows nothing', [policy('a', 'allow', [])], shop, 'deny by nothing-allowed'],
  ['a deny without rules denies nothing', [policy('d', 'deny', [])], shop, 'allow by no-allow-policies'],
  ['a rule without clauses matches everything', [policy('d', 'deny', [[]])], shop, 'deny by demo/d'],
  ['a clause without matches holds', [policy('d', 'deny', [[[]]])], shop, 'deny by demo/d'],
  [
    'a match without lists never holds',
    [policy('d', 'deny', one(match({})))],
    shop,
    'allow by no-allow-policies',
  ],
  [
    'clauses are and-ed',
    [policy('d', 'deny', [[[from('shop')], [from('bank')]]])],
    shop,
    'allow by no-allow-policies',
  ],
  ['matches are or-ed', [policy('d', 'deny', [[[from('bank'), from('shop')]]])], shop, 'deny by demo/d'],
  ['rules are or-ed', [policy('d', 'deny', [[[from('bank')]], [[from('shop')]]])], shop, 'deny by demo/d'],
  ['a dry-run deny denies nothing', [policy('d', 'deny', [[]], true)], shop, 'allow by no-allow-policies'],
  ['a dry-run allow does not close', [policy('a', 'allow', [], true)], shop, 'allow by no-allow-policies'],
  [
    'a dry-run allow does not open beside a real one',
    [policy('a', 'allow', []), policy('b', 'allow', [[]], true)],
    shop,
    'deny by nothing-allowed',
  ],
]
for (const [name, given, conn, want] of policies) {
  t.test(name, async (t) => {
    const { verdict, by } = decide(given, conn)
    t.equal(`${verdict} by ${by}`, want)
  })
}

const sa = { namespace: 'shop', serviceAccount: 'order' }
const matches: [string, Match, Connection, boolean][] = [
  ['prefix', match({ namespaces: { any: [{ kind: 'prefix', value: 'sh' }], none: [] } }), shop, true],
  ['suffix', match({ namespaces: { any: [{ kind: 'suffix', value: 'op' }], none: [] } }), shop, true],
  ['presence of a namespace', match({ namespaces: { any: [{ kind: 'presence' }], none: [] } }), shop, true],
  [
    'no presence in plaintext',
    match({ namespaces: { any: [{ kind: 'presence' }], none: [] } }),
    plain,
    false,
  ],
  [
    'principal without the scheme',
    match({ principals: { any: [exact('cluster.local/ns/shop/sa/order')], none: [] } }),
    shop,
    true,
  ],
  [
    'any principal is not plaintext',
    match({ principals: { any: [{ kind: 'presence' }], none: [] } }),
    plain,
    false,
  ],
  [
    'STRICT: no principal present, for plaintext',
    match({ principals: { any: [], none: [{ kind: 'presence' }] } }),
    plain,
    true,
  ],
  [
    'STRICT: no principal present, for mTLS',
    match({ principals: { any: [], none: [{ kind: 'presence' }] } }),
    shop,
    false,
  ],
  ['service account', match({ serviceAccounts: { any: [sa], none: [] } }), shop, true],
  ['service account in plaintext', match({ serviceAccounts: { any: [sa], none: [] } }), plain, false],
  [
    'not that service account, in plaintext',
    match({ serviceAccounts: { any: [], none: [sa] } }),
    plain,
    true,
  ],
  ['source block', match({ sourceIps: { any: [block('10.0.0.0/24')], none: [] } }), shop, true],
  ['not the source block', match({ sourceIps: { any: [], none: [block('10.0.0.0/24')] } }), shop, false],
  ['destination block', match({ destinationIps: { any: [block('10.0.2.0/24')], none: [] } }), shop, false],
  ['port', match({ destinationPorts: { any: [80, 8080], none: [] } }), shop, true],
  ['not the port', match({ destinationPorts: { any: [], none: [8080] } }), shop, false],
  [
    'positive and negative of a kind are and-ed',
    match({ namespaces: { any: [{ kind: 'presence' }], none: [exact('shop')] } }),
    shop,
    false,
  ],
  ['kinds are and-ed', match({ ...from('shop'), destinationPorts: { any: [1], none: [] } }), shop, false],
  ['what was closed in a DENY', 'always', plain, true],
  ['what was closed in an ALLOW', 'never', plain, false],
]
for (const [name, given, conn, want] of matches) {
  t.test(`match: ${name} ${want ? 'holds' : 'does not hold'}`, async (t) => {
    t.equal(decide([policy('d', 'deny', one(given))], conn).verdict, want ? 'deny' : 'allow')
  })
}

t.test('a policy that the workload names but that has not arrived denies', async (t) => {
  const missing = [policyName('demo', 'late')]
  t.same(decide([policy('a', 'allow', [[]])], shop, missing), {
    verdict: 'deny',
    by: 'policy-not-received',
    considered: missing,
  })
  t.equal(decide([policy('d', 'deny', [[]])], shop, missing).by, 'demo/d', 'an explicit denial names itself')
})

t.test('a refusal says which policies were considered', async (t) => {
  const decision = decide([policy('a', 'allow', []), policy('b', 'allow', one(from('bank')))], shop)
  t.same(decision, { verdict: 'deny', by: 'nothing-allowed', considered: ['demo/a', 'demo/b'] })
  t.equal(explainDecision(decision), 'policy rejection: allow policies exist, but none allowed')
  t.equal(
    explainDecision({ verdict: 'deny', by: policyName('demo', 'd'), rule: 0 }),
    'policy rejection: explicitly denied by: demo/d',
  )
})

const onTrial: [string, Authorization[], Connection, string, string][] = [
  [
    'a DENY on trial that matches is told, and denies nothing',
    [policy('d', 'deny', [[]], true)],
    shop,
    'allow',
    'would be denied by: demo/d',
  ],
  [
    'a DENY on trial that misses changes nothing',
    [policy('d', 'deny', one(from('bank')), true)],
    shop,
    'allow',
    'would be allowed all the same',
  ],
  [
    'an ALLOW on trial that misses would deny',
    [policy('a', 'allow', one(from('bank')), true)],
    shop,
    'allow',
    'would be denied: allow policies exist, but none allowed',
  ],
  [
    'an ALLOW on trial that misses changes nothing beside one that matches',
    [policy('a', 'allow', one(from('bank')), true), policy('b', 'allow', [[]])],
    shop,
    'allow',
    'would be allowed all the same',
  ],
  [
    'an ALLOW on trial would open what others leave shut',
    [policy('a', 'allow', [[]], true), policy('b', 'allow', [])],
    shop,
    'deny',
    'would be allowed by: demo/a',
  ],
  [
    'but not what is denied by name',
    [policy('a', 'allow', [[]], true), policy('d', 'deny', [[]])],
    shop,
    'deny',
    'would be denied all the same',
  ],
  [
    'two on trial are both told',
    [policy('d', 'deny', [[]], true), policy('e', 'deny', [[]], true)],
    plain,
    'allow',
    'would be denied by: demo/d, demo/e',
  ],
]
for (const [name, given, conn, verdict, told] of onTrial) {
  t.test(`dry run: ${name}`, async (t) => {
    const decision = decide(given, conn)
    t.equal(decision.verdict, verdict)
    t.equal(decision.dryRun && explainDryRun(decision.dryRun), told)
    const real = given.filter((p) => !p.dryRun)
    t.equal(decide(real, conn).verdict, verdict, 'the verdict is that of the others alone')
    t.notOk('dryRun' in decide(real, conn))
  })
}

t.test('what would be is what is when the policies on trial are enforced', async (t) => {
  const all = [...onTrial.map(([, given]) => given), ...policies.map(([, given]) => given)]
  for (const given of all)
    for (const conn of [shop, plain]) {
      const enforced = given.map((p) => ({ ...p, dryRun: false }))
      const { verdict, dryRun } = decide(given, conn)
      t.equal(dryRun?.verdict ?? verdict, decide(enforced, conn).verdict)
    }
})

t.test('a decision names the rule, and does not depend on the order in which policies came', async (t) => {
  const given = [policy('b', 'allow', [[]]), policy('a', 'allow', [[[from('bank')]], [[from('shop')]]])]
  t.same(decide(given, shop), { verdict: 'allow', by: 'demo/a', rule: 1 })
  t.same(decide(given.toReversed(), shop), { verdict: 'allow', by: 'demo/a', rule: 1 })
})
