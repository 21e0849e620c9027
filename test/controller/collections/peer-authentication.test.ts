import t from 'tap'
import { meshOf, pod, sentence, uid } from './world.ts'

const policy = (name: string, ns: string, spec: unknown) => ({ metadata: { name, namespace: ns }, spec })
t.test('policies that select a workload are named by it, sorted', async (t) => {
  const selector = { matchLabels: { app: 'order' } }
  const mesh = meshOf({
    pods: [pod()],
    policies: [
      policy('z', 'shop', { selector }),
      policy('a', 'shop', { selector }),
      policy('root', 'istio-system', { selector }),
      policy('elsewhere', 'bank', { selector }),
      policy('other', 'shop', { selector: { matchLabels: { app: 'x' } } }),
      policy('all', 'shop', {}),
    ],
  })
  t.strictSame(mesh.workloads.get(uid)?.authorizationPolicies, ['istio-system/root', 'shop/a', 'shop/z'])
  t.equal(mesh.policies.authorizations.size(), 6)
})

const peer = (name: string, ns: string, spec: unknown, created = '2026-01-01T00:00:00Z') => ({
  metadata: { name, namespace: ns, creationTimestamp: created },
  spec,
})
const select = { selector: { matchLabels: { app: 'order' } } }
const mtls = (mode: string) => ({ mtls: { mode } })
const ports = (entries: Record<string, string>) => ({
  portLevelMtls: Object.fromEntries(Object.entries(entries).map(([p, mode]) => [p, { mode }])),
})
const strict = 'istio-system/istio_converted_static_strict'
const own = 'shop/converted_peer_authentication_w'
const anonymous = '!principals=*'
const modes: readonly [string, readonly ReturnType<typeof peer>[], readonly string[], string?][] = [
  ['nothing said: plaintext is accepted', [], []],
  ['mesh STRICT', [peer('m', 'istio-system', mtls('STRICT'))], [strict]],
  [
    'namespace PERMISSIVE in a strict mesh',
    [peer('m', 'istio-system', mtls('STRICT')), peer('n', 'shop', mtls('PERMISSIVE'))],
    [],
  ],
  [
    'namespace UNSET inherits',
    [peer('m', 'istio-system', mtls('STRICT')), peer('n', 'shop', mtls('UNSET'))],
    [strict],
  ],
  [
    'a selector that cannot be read makes nobody less strict',
    [
      peer('m', 'istio-system', mtls('STRICT')),
      peer('w', 'shop', { selector: { matchExpressions: [] }, ...mtls('PERMISSIVE') }),
    ],
    [strict],
  ],
  [
    'nor one whose labels are no texts',
    [peer('w', 'shop', { selector: { matchLabels: { app: 5 } }, ...mtls('PERMISSIVE') })],
    [strict],
  ],
  ['workload STRICT', [peer('w', 'shop', { ...select, ...mtls('STRICT') })], [strict]],
  [
    'workload DISABLE in a strict namespace',
    [peer('n', 'shop', mtls('STRICT')), peer('w', 'shop', { ...select, ...mtls('DISABLE') })],
    [],
  ],
  [
    'selects somebody else',
    [peer('w', 'shop', { selector: { matchLabels: { app: 'x' } }, ...mtls('STRICT') })],
    [],
  ],
  [
    'a selector in the root namespace selects nothing',
    [peer('w', 'istio-system', { ...select, ...mtls('STRICT') })],
    [],
  ],
  [
    'the oldest counts',
    [peer('n1', 'shop', mtls('STRICT'), '2026-02-01T00:00:00Z'), peer('n2', 'shop', mtls('PERMISSIVE'))],
    [],
  ],
  [
    'STRICT but for a port',
    [peer('w', 'shop', { ...select, ...mtls('STRICT'), ...ports({ 8080: 'PERMISSIVE', 9090: 'DISABLE' }) })],
    [own],
    `${anonymous} AND !ports=8080 AND !ports=9090`,
  ],
  [
    'PERMISSIVE but for ports',
    [peer('w', 'shop', { ...select, ...mtls('PERMISSIVE'), ...ports({ 8080: 'STRICT', 9090: 'STRICT' }) })],
    [own],
    `${anonymous} & ports=8080 ; ${anonymous} & ports=9090`,
  ],
  [
    'UNSET under STRICT, a port DISABLE',
    [peer('n', 'shop', mtls('STRICT')), peer('w', 'shop', { ...select, ...ports({ 8080: 'DISABLE' }) })],
    [own],
    `${anonymous} AND !ports=8080`,
  ],
  [
    'PERMISSIVE in a strict mesh, a port STRICT',
    [
      peer('m', 'istio-system', mtls('STRICT')),
      peer('w', 'shop', { ...select, ...mtls('PERMISSIVE'), ...ports({ 8080: 'STRICT' }) }),
    ],
    [own],
    `${anonymous} & ports=8080`,
  ],
  ['a mode that is none is taken for STRICT', [peer('n', 'shop', mtls('SOMETIMES'))], [strict]],
  ['a misspelt field', [peer('n', 'shop', { mTLS: { mode: 'PERMISSIVE' } })], [strict]],
  ['a spec that is none', [peer('n', 'shop', 'garbage')], [strict]],
  ['ports that are none', [peer('n', 'shop', { ...mtls('PERMISSIVE'), portLevelMtls: 'x' })], [strict]],
  [
    'a port that is none wants STRICT: it could be any',
    [peer('w', 'shop', { ...select, ...mtls('PERMISSIVE'), portLevelMtls: { http: { mode: 'STRICT' } } })],
    [strict],
  ],
  [
    'a port that is none wants PERMISSIVE: it is nobody’s',
    [peer('w', 'shop', { ...select, ...mtls('STRICT'), portLevelMtls: { http: { mode: 'PERMISSIVE' } } })],
    [strict],
  ],
  [
    'a selector that cannot be read',
    [peer('w', 'shop', { selector: { matchLabels: { app: 5 } }, ...mtls('PERMISSIVE') })],
    [strict],
  ],
]
for (const [title, peers, want, rule] of modes)
  t.test(`PeerAuthentication: ${title}`, async (t) => {
    const mesh = meshOf({ pods: [pod()], peers })
    t.strictSame(mesh.workloads.get(uid)?.authorizationPolicies, want)
    for (const key of want) t.ok(mesh.policies.authorizations.get(key), `${key} is sent`)
    const converted = mesh.policies.authorizations.get(own)
    t.equal(converted && sentence(converted), rule)
    t.equal(mesh.policies.authorizations.get(strict) !== undefined, peers.length > 0, 'static policy')
  })

/** What status says of `p`, beside others of its namespace. */
const said: readonly [string, unknown, readonly Parameters<typeof peer>[], string, RegExp][] = [
  ['as written', mtls('STRICT'), [], 'True Accepted', /enforced/],
  ['DISABLE', mtls('DISABLE'), [], 'True UnsupportedValue', /PERMISSIVE/],
  [
    'an older one',
    mtls('STRICT'),
    [['a', 'shop', {}, '2025-01-01T00:00:00Z']],
    'False Conflict',
    /shop\/a is older/,
  ],
  ['a younger one', mtls('STRICT'), [['a', 'shop', {}, '2027-01-01T00:00:00Z']], 'True Accepted', /./],
  [
    'ports of everybody',
    { ...mtls('STRICT'), ...ports({ 80: 'PERMISSIVE' }) },
    [],
    'False UnsupportedValue',
    /selector/,
  ],
  ['garbage', { ...mtls('SOMETIMES') }, [], 'False Invalid', /spec\.mtls: .*SOMETIMES.*STRICT/],
]
for (const [title, spec, others, want, message] of said)
  t.test(`status: ${title}`, async (t) => {
    const { policies } = meshOf({ peers: [peer('p', 'shop', spec), ...others.map((one) => peer(...one))] })
    const [condition] = policies.peerConditions.get('shop/p') ?? []
    t.equal(`${condition?.type} ${condition?.status} ${condition?.reason}`, `ZtunnelAccepted ${want}`)
    t.match(condition?.message, message)
  })

t.test('status: a selector in the root namespace', async (t) => {
  const { policies } = meshOf({ peers: [peer('p', 'istio-system', { ...select, ...mtls('STRICT') })] })
  t.match(policies.peerConditions.get('istio-system/p'), [{ status: 'False', reason: 'UnsupportedValue' }])
})
