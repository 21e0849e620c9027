import t from 'tap'
import { ip } from '#base'
import { spiffeId } from '#identity'
import { applicableOf, type Authorization, type Connection, decide, policyName } from '#policy'
import { Registry, startLogging } from '#telemetry'
import { policyReport } from '../../../ztunnel/proxy/index.ts'

const connection: Connection = {
  source: ip('10.0.0.7'),
  peer: spiffeId({ trustDomain: 'td', namespace: 'shop', serviceAccount: 'order' }),
  destination: { address: ip('10.0.1.9'), port: 8080 },
}
const policy = (name: string, action: 'allow' | 'deny', matches: boolean, dryRun = true): Authorization => ({
  name: policyName('demo', name),
  namespace: 'demo',
  scope: 'namespace',
  action,
  rules: matches ? [[]] : [],
  dryRun,
  problems: [],
})
function setUp(atInfo = false, filter = 'info') {
  const registry = new Registry()
  const lines: Record<string, unknown>[] = []
  const logs = startLogging({ format: 'json', filter, write: (line) => lines.push(JSON.parse(line)) })
  const report = policyReport({ registry, log: logs.root('ztunnel::rbac'), atInfo })
  const judge = (...policies: Authorization[]) =>
    report(decide(applicableOf(policies), connection), connection)
  const counts = async () =>
    (await registry.metrics()).split('\n').filter((line) => line.startsWith('lateen_policy_dry_run_total{'))
  const metrics = async () => (await registry.metrics()).split('\n')
  return { judge, counts, lines, metrics }
}

t.test('what policies on trial would have done is counted by policy', async (t) => {
  const { judge, counts, lines } = setUp()
  judge(policy('d', 'deny', true), policy('missed', 'deny', false))
  judge(policy('d', 'deny', true))
  judge(policy('a', 'allow', false))
  judge(policy('b', 'allow', true), policy('real', 'allow', false, false))
  judge(policy('real', 'deny', true, false))
  t.same((await counts()).sort(), [
    'lateen_policy_dry_run_total{policy="demo/a",outcome="would-deny"} 1',
    'lateen_policy_dry_run_total{policy="demo/b",outcome="would-allow"} 1',
    'lateen_policy_dry_run_total{policy="demo/d",outcome="would-deny"} 2',
  ])
  t.same(lines, [], 'and not logged, unless debug is on')
})

t.test('however many policies are tried, there are 1000 names at most', async (t) => {
  const { judge, counts } = setUp()
  for (let n = 0; n < 1_200; n++) judge(policy(`p${n}`, 'deny', true))
  const lines = await counts()
  t.equal(lines.length, 1_001)
  t.ok(lines.includes('lateen_policy_dry_run_total{policy="other",outcome="would-deny"} 200'))
})

t.test('verdicts are logged at debug, and with AUTHZ_POLICY_INFO_LOGGING at info', async (t) => {
  for (const { judge, lines } of [setUp(false, 'info,ztunnel::rbac=debug'), setUp(true)]) {
    judge(policy('d', 'deny', true), policy('real', 'allow', true, false))
    t.match(lines, [
      {
        scope: 'ztunnel::rbac',
        message: 'allowed by: demo/real',
        verdict: 'allow',
        policy: 'demo/real',
        'src.ip': '10.0.0.7',
        'src.identity': 'spiffe://td/ns/shop/sa/order',
        'dst.addr': '10.0.1.9:8080',
      },
      { message: 'dry run: would be denied by: demo/d', verdict: 'deny', policies: 'demo/d' },
    ])
  }
})

t.test('an AUDIT policy is counted and logged, and decides nothing', async (t) => {
  const { judge, lines, metrics } = setUp()
  judge({ ...policy('seen', 'deny', true), audit: true }, policy('real', 'allow', true, false))
  judge({ ...policy('missed', 'deny', false), audit: true })
  t.same(
    (await metrics()).filter((line) => line.startsWith('lateen_policy_audit_total{')),
    ['lateen_policy_audit_total{policy="demo/seen"} 1'],
  )
  t.same(
    (await metrics()).filter((line) => line.startsWith('lateen_policy_dry_run_total{')),
    [],
  )
  t.equal(lines.length, 1)
  t.match(lines, [{ message: 'audit', verdict: 'allow', policies: 'demo/seen', 'src.ip': '10.0.0.7' }])
})
