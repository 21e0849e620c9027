import t from 'tap'
import { ip } from '#base'
import { applicableOf, auditPolicy, type Connection, decide, decodeAuthorization } from '#policy'
import { security } from '#wire'

const conn = (port: number): Connection => ({
  source: ip('10.0.0.7'),
  peer: undefined,
  destination: { address: ip('10.0.1.9'), port },
})
const onPort80: security.Authorization = {
  ...security.Authorization.decode(new Uint8Array()),
  name: 'p',
  namespace: 'shop',
  scope: security.Scope.NAMESPACE,
  rules: [
    {
      clauses: [{ matches: [{ ...security.Match.decode(new Uint8Array()), destinationPorts: [80] }] }],
    },
  ],
}
const sent = (policy: security.Authorization) =>
  decodeAuthorization('shop/p', security.Authorization.encode(policy).finish())

t.test('AUDIT tells what it matches and changes no verdict', async (t) => {
  const policy = sent(auditPolicy(onPort80))
  t.same(policy.problems, [])
  t.same(decide(applicableOf([policy]), conn(80)), {
    verdict: 'allow',
    by: 'no-allow-policies',
    audited: ['shop/p'],
  })
  t.same(decide(applicableOf([policy]), conn(81)), { verdict: 'allow', by: 'no-allow-policies' })
})

t.test('a rule without clauses audits everything', async (t) => {
  const policy = sent(auditPolicy({ ...onPort80, rules: [{ clauses: [] }] }))
  t.same(decide(applicableOf([policy]), conn(9)).audited, ['shop/p'])
})

t.test('beside a policy on trial each says its own', async (t) => {
  const audit = sent(auditPolicy(onPort80))
  const trial = { ...sent({ ...onPort80, action: 1, dryRun: true }), name: 'shop/q' as typeof audit.name }
  const decision = decide(applicableOf([audit, trial]), conn(80))
  t.match(decision, { verdict: 'allow', audited: ['shop/p'], dryRun: { denying: ['shop/q'] } })
})

t.test('whoever knows neither trials nor the extension enforces nothing of it', async (t) => {
  const { action, rules } = auditPolicy({ ...onPort80, rules: [...onPort80.rules, { clauses: [] }] })
  const old = sent({ ...onPort80, action, rules })
  for (const port of [80, 81]) t.equal(decide(applicableOf([old]), conn(port)).verdict, 'allow')
})

t.test('the extension on a policy that is not on trial closes it like any other', async (t) => {
  const policy = sent({ ...auditPolicy(onPort80), dryRun: false })
  t.notSame(policy.problems, [])
  t.equal(decide(applicableOf([policy]), conn(81)).verdict, 'deny')
})
