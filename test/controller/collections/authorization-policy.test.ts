import t from 'tap'
import { compilePolicy } from '../../../controller/collections/authorization-policy.ts'
import { sentence, settings } from './world.ts'

const compile = (spec: unknown, metadata: Record<string, unknown> = {}) =>
  compilePolicy({ metadata: { name: 'p', namespace: 'shop', ...metadata }, spec }, settings)

const from = (source: unknown) => ({ from: [{ source }] })
const to = (operation: unknown) => ({ to: [{ operation }] })
const when = (...conditions: unknown[]) => ({ when: conditions })

/** What is written → what ztunnel enforces, and what status says of it. */
const allow: readonly [string, unknown, string, string][] = [
  ['no rules allow nothing', {}, 'nothing', 'True Accepted'],
  ['an empty rule allows everything', { rules: [{}] }, 'everything', 'True Accepted'],
  [
    'a principal',
    { rules: [from({ principals: ['cluster.local/ns/a/sa/b'] })] },
    'principals=cluster.local/ns/a/sa/b',
    'True Accepted',
  ],
  ['any authenticated principal', { rules: [from({ principals: ['*'] })] }, 'principals=*', 'True Accepted'],
  ['prefix and suffix', { rules: [from({ principals: ['a*', '*b'] })] }, 'principals=a*|*b', 'True Accepted'],
  ['negated principal', { rules: [from({ notPrincipals: ['a'] })] }, '!principals=a', 'True Accepted'],
  [
    'namespaces',
    { rules: [from({ namespaces: ['a', 'b'], notNamespaces: ['c'] })] },
    'namespaces=a|b & !namespaces=c',
    'True Accepted',
  ],
  [
    'accounts of its own and of another namespace',
    { rules: [from({ serviceAccounts: ['a', 'bank/b'] })] },
    'accounts=shop/a|bank/b',
    'True Accepted',
  ],
  [
    'address blocks of both families',
    { rules: [from({ ipBlocks: ['10.0.0.0/8', 'fd00::1'] })] },
    'from=10.0.0.0/8|fd00::1/128',
    'True Accepted',
  ],
  ['ports', { rules: [to({ ports: ['80'], notPorts: ['81'] })] }, 'ports=80 & !ports=81', 'True Accepted'],
  [
    'sources are alternatives',
    { rules: [{ from: [{ source: { namespaces: ['a'] } }, { source: { namespaces: ['b'] } }] }] },
    'namespaces=a OR namespaces=b',
    'True Accepted',
  ],
  [
    'from, to and when must all hold',
    {
      rules: [
        {
          ...from({ namespaces: ['a'] }),
          ...to({ ports: ['80'] }),
          ...when({ key: 'source.ip', values: ['10.0.0.1'] }),
        },
      ],
    },
    'namespaces=a AND ports=80 AND from=10.0.0.1/32',
    'True Accepted',
  ],
  [
    'each condition is one of its own',
    {
      rules: [
        when({ key: 'destination.port', values: ['80'] }, { key: 'source.namespace', notValues: ['b'] }),
      ],
    },
    'ports=80 AND !namespaces=b',
    'True Accepted',
  ],
  [
    'conditions on principal and destination',
    {
      rules: [
        when({ key: 'source.principal', values: ['x'] }, { key: 'destination.ip', values: ['10.0.0.0/24'] }),
      ],
    },
    'principals=x AND to=10.0.0.0/24',
    'True Accepted',
  ],
  [
    'rules are alternatives',
    { rules: [from({ namespaces: ['a'] }), to({ ports: ['1'] })] },
    'namespaces=a ; ports=1',
    'True Accepted',
  ],
  [
    'an L7 rule allows nothing, the others stay',
    { rules: [to({ methods: ['GET'] }), from({ namespaces: ['a'] })] },
    'namespaces=a',
    'True UnsupportedValue',
  ],
  [
    'L7 beside L4 makes the whole rule allow nothing',
    { rules: [to({ ports: ['80'], paths: ['/x'] })] },
    'nothing',
    'True UnsupportedValue',
  ],
  [
    'an L7 condition too',
    { rules: [when({ key: 'request.headers[x-a]', values: ['b'] })] },
    'nothing',
    'True UnsupportedValue',
  ],
  [
    'an unreadable block: the rule allows nothing',
    { rules: [from({ ipBlocks: ['10.0.0.0/8', 'not-an-address'] })] },
    'nothing',
    'False Invalid',
  ],
  ['a bad port', { rules: [to({ ports: ['http'] })] }, 'nothing', 'False Invalid'],
  [
    'port 0 and 65536',
    { rules: [to({ ports: ['0'] }), to({ ports: ['65536'] })] },
    'nothing',
    'False Invalid',
  ],
  ['an unknown attribute', { rules: [from({ principal: ['a'] })] }, 'nothing', 'False Invalid'],
  [
    'an unknown attribute beside a known one',
    { rules: [from({ namespaces: ['a'], planets: ['b'] })] },
    'nothing',
    'False Invalid',
  ],
  [
    'an unknown part of a rule',
    { rules: [{ ...from({ namespaces: ['a'] }), unless: [] }] },
    'nothing',
    'False Invalid',
  ],
  [
    'an unknown part beside source',
    { rules: [{ from: [{ source: { namespaces: ['a'] }, sink: {} }] }] },
    'nothing',
    'False Invalid',
  ],
  [
    'a member of every object is no attribute',
    { rules: [from({ namespaces: ['a'], constructor: ['b'] }), to({ constructor: ['b'] })] },
    'nothing',
    'False Invalid',
  ],
  [
    'nor the key of a condition',
    { rules: [when({ key: 'constructor', values: ['b'] }), when({ key: 'toString', values: ['b'] })] },
    'nothing',
    'False Invalid',
  ],
  ['an empty source is no source', { rules: [from({})] }, 'nothing', 'False Invalid'],
  ['an empty list is not “any”', { rules: [from({ principals: [] })] }, 'nothing', 'False Invalid'],
  ['an empty text', { rules: [from({ principals: [''] })] }, 'nothing', 'False Invalid'],
  ['a number for a text', { rules: [from({ namespaces: [5] })] }, 'nothing', 'False Invalid'],
  ['a text for a list', { rules: [from({ namespaces: 'a' })] }, 'nothing', 'False Invalid'],
  ['a pattern for an account', { rules: [from({ serviceAccounts: ['a/*'] })] }, 'nothing', 'False Invalid'],
  ['a condition without values', { rules: [when({ key: 'source.ip' })] }, 'nothing', 'False Invalid'],
  [
    'a condition nobody knows',
    { rules: [when({ key: 'moon.phase', values: ['full'] })] },
    'nothing',
    'False Invalid',
  ],
  ['rules that are no list', { rules: 'all' }, 'nothing', 'False Invalid'],
  ['a rule that is no rule', { rules: ['all'] }, 'nothing', 'False Invalid'],
  ['a spec that is none', 'garbage', 'nothing', 'False Invalid'],
  ['an unknown field of the spec', { rules: [{}], extra: 1 }, 'nothing', 'False Invalid'],
  ['an unknown action allows nothing', { action: 'PERMIT', rules: [{}] }, 'nothing', 'False Invalid'],
]
for (const [title, spec, want, status] of allow) {
  t.test(`ALLOW: ${title}`, async (t) => {
    const { authorization, condition } = compile(spec)
    t.equal(authorization && sentence(authorization), want)
    t.equal(authorization?.action, 0)
    t.equal(`${condition?.status} ${condition?.reason}`, status)
  })
}

const deny: readonly [string, unknown, string, string][] = [
  ['no rules deny nothing', {}, 'nothing', 'True Accepted'],
  ['an empty rule denies everything', { rules: [{}] }, 'everything', 'True Accepted'],
  ['L4 as written', { rules: [from({ namespaces: ['a'] })] }, 'namespaces=a', 'True Accepted'],
  [
    'L7 is left out and more is denied',
    { rules: [to({ ports: ['80'], methods: ['DELETE'] })] },
    'ports=80',
    'True UnsupportedValue',
  ],
  [
    'a clause of L7 only is taken for true',
    { rules: [{ ...from({ principals: ['x'] }), ...to({ methods: ['DELETE'] }) }] },
    'principals=x',
    'True UnsupportedValue',
  ],
  [
    'a rule of L7 only denies everything',
    { rules: [to({ hosts: ['a'] })] },
    'everything',
    'True UnsupportedValue',
  ],
  [
    'an alternative of L7 only makes its clause true',
    { rules: [{ to: [{ operation: { ports: ['80'] } }, { operation: { paths: ['/x'] } }] }] },
    'everything',
    'True UnsupportedValue',
  ],
  [
    'an unreadable value could be anything',
    { rules: [from({ ipBlocks: ['10.0.0.1', 'x'], namespaces: ['a'] })] },
    'namespaces=a',
    'False Invalid',
  ],
  [
    'an unreadable exception is no exception; the others are',
    { rules: [from({ notIpBlocks: ['10.0.0.1', 'x'] })] },
    '!from=10.0.0.1/32',
    'False Invalid',
  ],
  ['only unreadable exceptions', { rules: [from({ notIpBlocks: ['x'] })] }, 'everything', 'False Invalid'],
  ['an unknown attribute', { rules: [from({ planets: ['mars'] })] }, 'everything', 'False Invalid'],
  ['rules that are no list', { rules: 5 }, 'everything', 'False Invalid'],
]
for (const [title, spec, want, status] of deny) {
  t.test(`DENY: ${title}`, async (t) => {
    const { authorization, condition } = compile({ action: 'DENY', ...(spec as object) })
    t.equal(authorization && sentence(authorization), want)
    t.equal(authorization?.action, 1)
    t.equal(`${condition?.status} ${condition?.reason}`, status)
  })
}

t.test('scope: namespace, mesh, workloads', async (t) => {
  t.match(compile({}).authorization, { scope: 1, namespace: 'shop', name: 'p' })
  t.match(compile({}, { namespace: 'istio-system' }).authorization, { scope: 0 })
  const selecting = compile({ selector: { matchLabels: { app: 'a' } } })
  t.match(selecting.authorization, { scope: 2 })
  t.same(selecting.selector, { app: 'a' })
  t.match(compile({ selector: { matchLabels: {} } }).authorization, { scope: 1 })
})

t.test('a selector that cannot be read concerns everybody in reach, and allows nothing', async (t) => {
  for (const selector of ['x', { matchLabels: { app: 5 } }, { matchExpressions: [] }]) {
    const { authorization, selector: read, condition } = compile({ selector, rules: [{}] })
    t.equal(read, undefined)
    t.match(authorization, { scope: 1 })
    t.equal(authorization && sentence(authorization), 'nothing')
    t.equal(condition?.status, 'False')
    const denying = compile({ selector, action: 'DENY', rules: [from({ namespaces: ['a'] })] }).authorization
    t.equal(denying && sentence(denying), 'namespaces=a')
  }
})

t.test('what is not for ztunnel is not sent, and said', async (t) => {
  for (const spec of [
    { targetRefs: [{ kind: 'Service', name: 'x' }] },
    { targetRef: { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'x' } },
  ]) {
    const { authorization, condition, targets } = compile(spec)
    t.equal(authorization, undefined)
    t.equal(condition, undefined)
    t.equal(targets.length, 1)
  }
  const trial = compile({}, { annotations: { 'istio.io/dry-run': 'true' } })
  t.equal(trial.authorization, undefined)
  t.match(trial.condition, { type: 'ZtunnelAccepted', status: 'False', reason: 'UnsupportedValue' })
  const dry = compilePolicy(
    { metadata: { name: 'p', namespace: 'shop', annotations: { 'istio.io/dry-run': 'true' } }, spec: {} },
    { ...settings, dryRunPolicies: true },
  )
  t.equal(dry.authorization?.dryRun, true)
})

t.test('what an external authorizer would be asked about is denied', async (t) => {
  const rules = [from({ namespaces: ['a'] })]
  const { authorization, condition } = compile({ action: 'CUSTOM', provider: { name: 'x' }, rules })
  t.equal(authorization?.action, 1)
  t.equal(authorization && sentence(authorization), 'namespaces=a')
  t.match(condition, {
    type: 'ZtunnelAccepted',
    status: 'False',
    reason: 'UnsupportedValue',
    message: /denied/,
  })
})

t.test('AUDIT is sent as what can never deny, to whatever ztunnel', async (t) => {
  const rules = [from({ namespaces: ['a'] }), to({ methods: ['GET'] }), {}]
  const { authorization, condition } = compile({ action: 'AUDIT', rules })
  t.match(authorization, { action: 1, dryRun: true, extensions: [{ name: 'lateen.io/audit' }] })
  // The empty alternative at the end of each rule is what no ztunnel takes for true.
  t.equal(authorization && sentence(authorization), 'namespaces=a AND  ; ')
  t.match(condition, {
    status: 'True',
    reason: 'UnsupportedValue',
    message: /rules\[1\] \(methods\) audits nothing/,
  })
  t.match(compile({ action: 'AUDIT', rules: [{}] }).condition, {
    status: 'True',
    reason: 'Accepted',
    message: /logged/,
  })
})

t.test('the message names what is wrong, where, and what becomes of each rule', async (t) => {
  const message = (spec: unknown) => compile(spec).condition?.message ?? ''
  const bad = message({ rules: [from({ ipBlocks: ['not-an-address'] }), to({ methods: ['GET'] }), {}] })
  t.match(bad, 'rules[0].from[0].source.ipBlocks: "not-an-address"')
  t.match(bad, 'spec.rules[0] allows nothing, spec.rules[1] (methods) allows nothing: ')
  t.notMatch(bad, 'rules[2]')
  t.match(
    message({ rules: [to({ methods: ['GET'], paths: ['/'] })] }),
    'spec.rules[0] (methods, paths) allows nothing',
  )
  t.match(
    message({ action: 'DENY', rules: [to({ ports: ['1'], methods: ['GET'] }), to({ hosts: ['a'] })] }),
    'spec.rules[0] (methods) denies more than written, spec.rules[1] (hosts) denies everything',
  )
  t.ok(
    message({ rules: Array.from({ length: 500 }, () => from({ ipBlocks: ['x'.repeat(200)] })) }).length <=
      1024,
  )
})

t.test('targets that are no list are taken for everything in reach, and nothing is allowed', async (t) => {
  for (const targetRefs of ['all', [5], [null, 'x']]) {
    const { authorization, condition } = compile({ targetRefs, rules: [{}] })
    t.equal(authorization && sentence(authorization), 'nothing')
    t.equal(condition?.reason, 'Invalid')
  }
})

t.test('garbage anywhere never makes a policy match more than it did', async (t) => {
  const good = { from: [{ source: { namespaces: ['a'] } }], to: [{ operation: { ports: ['80'] } }] }
  const garbage: unknown[] = [null, 5, 'x', [], {}, [null], [5], { a: 1 }, [{}], [{ source: null }], true]
  for (const key of ['from', 'to', 'when', 'extra']) {
    for (const junk of garbage) {
      const { authorization } = compile({ rules: [{ ...good, [key]: junk }] })
      const said = authorization ? sentence(authorization) : 'nothing'
      const harmless = Array.isArray(junk) && junk.length === 0 && key !== 'extra'
      if (!harmless) t.equal(said, 'nothing', `${key}: ${JSON.stringify(junk)}`)
    }
  }
})
