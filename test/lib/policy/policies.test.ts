import t from 'tap'
import { cidrContains, ip, parseCidr } from '#base'
import {
  applicableOf,
  type Authorization,
  decide,
  decodeAuthorization,
  noPolicies,
  policiesFor,
  policyName,
  updatePolicies,
} from '#policy'
import { security } from '#wire'

const parse = (policies: readonly security.Authorization[]) =>
  policies.map((p) =>
    decodeAuthorization(`${p.namespace}/${p.name}`, security.Authorization.encode(p).finish()),
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
    const { policies: applicable, missing } = policiesFor(policies, {
      namespace: 'demo',
      authorizationPolicies: named,
    })
    t.same(applicable.map((p) => p.name).sort(), ['demo/ns', 'demo/picked', 'istio-system/everywhere'])
    t.same(missing, ['demo/late'])
    const after = updatePolicies(policies, [], [policyName('demo', 'ns')])
    t.notOk(after.byNamespace.has('demo'))
    t.ok(policies.byNamespace.has('demo'), 'the former policies are unchanged')
  },
)

t.test('an update costs the policies of its own namespace, and leaves the others as they were', async (t) => {
  const many = parse(Array.from({ length: 300 }, (_, n) => ({ ...base(`p${n}`), namespace: `ns${n % 100}` })))
  const before = updatePolicies(noPolicies, many, [])
  const after = updatePolicies(before, parse([{ ...base('new'), namespace: 'ns7' }]), [
    policyName('ns7', 'p107'),
  ])
  t.equal(after.byNamespace.get('ns8'), before.byNamespace.get('ns8'), 'the very same list')
  t.same(
    after.byNamespace.get('ns7')?.map(({ name }) => name),
    ['ns7/p7', 'ns7/p207', 'ns7/new'],
  )
  const moved = updatePolicies(
    after,
    parse([{ ...base('p7'), namespace: 'ns7', scope: security.Scope.GLOBAL }]),
    [],
  )
  t.same(
    moved.global.map(({ name }) => name),
    ['ns7/p7'],
  )
  t.same(
    moved.byNamespace.get('ns7')?.map(({ name }) => name),
    ['ns7/p207', 'ns7/new'],
  )
  const twice = updatePolicies(noPolicies, [...many.slice(0, 1), ...many.slice(0, 1)], [])
  t.equal(twice.byNamespace.get('ns0')?.length, 1, 'sent twice, held once')
})

t.test('what was worked out for a workload is kept until policies change', async (t) => {
  const held = updatePolicies(noPolicies, parse([base('p')]), [])
  const workload = { namespace: 'demo', authorizationPolicies: [] }
  t.equal(policiesFor(held, workload), policiesFor(held, workload))
  const [kept] = policiesFor(held, workload).enforced.allow
  const after = updatePolicies(held, parse([base('q')]), [])
  t.equal(policiesFor(after, workload).policies.length, 2)
  t.equal(policiesFor(after, workload).enforced.allow[0], kept, 'an old policy is not compiled again')
  t.equal(policiesFor(held, workload).policies.length, 1, 'and readers of the former see the former')
})

t.test('merged blocks contain what each of them contains', async (t) => {
  const texts = [
    '10.0.0.0/8',
    '10.1.0.0/16',
    '10.0.0.1/32',
    '11.0.0.0/31',
    '0.0.0.0/32',
    '255.255.255.255/32',
    'fd00::/64',
    'fd00::1/128',
    '::/127',
    'ffff::/16',
    '192.168.7.77/20',
  ]
  const blocks = texts.flatMap((text) => parseCidr(text) ?? [])
  t.equal(blocks.length, texts.length)
  const addresses = [
    '0.0.0.0',
    '0.0.0.1',
    '9.255.255.255',
    '10.0.0.0',
    '10.255.255.255',
    '11.0.0.0',
    '11.0.0.1',
    '11.0.0.2',
    '255.255.255.254',
    '255.255.255.255',
    '192.168.0.0',
    '192.168.15.255',
    '192.168.16.0',
    '::',
    '::1',
    '::2',
    'fd00::',
    'fd00::ffff:ffff:ffff:ffff',
    'fd00:0:0:1::',
    'fcff:ffff::',
    'ffff::1',
    'fffe:ffff::',
  ]
  const lists = [blocks, blocks.slice(3), ...blocks.map((block) => [block]), blocks.toReversed()]
  for (const list of lists)
    for (const text of addresses) {
      const lists = { any: list, none: [] }
      const none = { any: [], none: [] }
      const match = {
        namespaces: none,
        principals: none,
        serviceAccounts: none,
        sourceIps: lists,
        destinationIps: none,
        destinationPorts: none,
      }
      const policy: Authorization = {
        name: policyName('demo', 'p'),
        namespace: 'demo',
        scope: 'namespace',
        action: 'deny',
        rules: [[[match]]],
        dryRun: false,
        problems: [],
      }
      const connection = {
        source: ip(text),
        peer: undefined,
        destination: { address: ip('10.0.0.1'), port: 1 },
      }
      const want = list.some((block) => cidrContains(block, ip(text))) ? 'deny' : 'allow'
      if (decide(applicableOf([policy]), connection).verdict !== want)
        t.fail(`${text} of ${list.length} blocks`)
    }
  t.pass('all alike')
})
