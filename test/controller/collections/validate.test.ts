import t from 'tap'
import { validate } from '../../../controller/collections/validate.ts'
import { settings } from './world.ts'

const found = (kind: string, spec: unknown, metadata: Record<string, unknown> = {}) => {
  const group = ['AuthorizationPolicy', 'PeerAuthentication'].includes(kind) ? 'security' : 'networking'
  const object = { metadata: { name: 'x', namespace: 'shop', ...metadata }, spec }
  return validate(`${group}.istio.io`, kind, object, settings)
}

const fromBlock = (block: string) => ({ rules: [{ from: [{ source: { ipBlocks: [block] } }] }] })
/** What is written → the error, with its path and its hint; undefined: it is accepted. */
const cases: readonly [string, string, unknown, RegExp | undefined][] = [
  ['a good policy', 'AuthorizationPolicy', fromBlock('10.0.0.0/8'), undefined],
  ['a policy without a spec', 'AuthorizationPolicy', undefined, undefined],
  ['L7 at L4', 'AuthorizationPolicy', { rules: [{ to: [{ operation: { methods: ['GET'] } }] }] }, undefined],
  [
    'no address',
    'AuthorizationPolicy',
    fromBlock('10.0.0.300'),
    /^spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks: "10.0.0.300" cannot be read; an address or a block/,
  ],
  [
    'no port',
    'AuthorizationPolicy',
    { rules: [{ to: [{ operation: { ports: ['http'] } }] }] },
    /^spec\.rules\[0\]\.to\[0\]\.operation\.ports: "http" .*number from 1 to 65535/,
  ],
  [
    'a pattern for an account',
    'AuthorizationPolicy',
    { rules: [{ from: [{ source: { serviceAccounts: ['a/*'] } }] }] },
    /serviceAccounts: "a\/\*" .*without patterns/,
  ],
  [
    'a misspelt attribute',
    'AuthorizationPolicy',
    { rules: [{ from: [{ source: { principal: ['a'] } }] }] },
    /^spec\.rules\[0\]\.from\[0\]\.source\.principal: unknown; one of .*principals/,
  ],
  [
    'a misspelt action',
    'AuthorizationPolicy',
    { action: 'deny' },
    /^spec\.action: "deny" is not one of ALLOW/,
  ],
  [
    'an unknown condition',
    'AuthorizationPolicy',
    { rules: [{ when: [{ key: 'source.planet', values: ['mars'] }] }] },
    /^spec\.rules\[0\]\.when\[0\]\.key: "source\.planet" is not known; source\.ip/,
  ],
  [
    'selector and target',
    'AuthorizationPolicy',
    { selector: { matchLabels: { a: 'b' } }, targetRefs: [{ kind: 'Service', name: 'x' }] },
    /^spec\.selector: cannot stand beside targetRefs/,
  ],
  [
    'a target of no kind',
    'AuthorizationPolicy',
    { targetRefs: [{ kind: 'Deployment', name: 'x' }] },
    /^spec\.targetRefs\[0\]\.kind: "Deployment" .*one of Gateway, GatewayClass, Service, ServiceEntry/,
  ],
  ['a mode', 'PeerAuthentication', { mtls: { mode: 'STRICT' } }, undefined],
  ['no mode', 'PeerAuthentication', { mtls: { mode: 'ON' } }, /^spec\.mtls: .*one of STRICT, PERMISSIVE/],
  [
    'ports of everybody',
    'PeerAuthentication',
    { portLevelMtls: { 80: { mode: 'STRICT' } } },
    /^spec\.portLevelMtls: .*add one/,
  ],
  [
    'a port by name',
    'PeerAuthentication',
    { selector: { matchLabels: { a: 'b' } }, portLevelMtls: { http: { mode: 'STRICT' } } },
    /^spec\.portLevelMtls: "http" is not a port/,
  ],
  ['an entry', 'ServiceEntry', { hosts: ['a.example'], ports: [{ number: 80, name: 'http' }] }, undefined],
  ['an entry for nothing', 'ServiceEntry', {}, /^spec\.hosts: at least one/],
  [
    'an unknown resolution',
    'ServiceEntry',
    { hosts: ['a.example'], resolution: 'MAGIC' },
    /^spec\.resolution: "MAGIC"/,
  ],
  ['no host', 'ServiceEntry', { hosts: ['a b'] }, /^spec\.hosts\[0\]: "a b" is not a host name/],
  [
    'a wildcard, as sidecars have it',
    'ServiceEntry',
    { hosts: ['*.example'], resolution: 'NONE' },
    undefined,
  ],
  [
    'a wildcard in DNS',
    'ServiceEntry',
    { hosts: ['*.example'], resolution: 'DNS' },
    /^spec\.hosts\[0\]: "\*\.example" cannot be resolved/,
  ],
  ['no port number', 'ServiceEntry', { hosts: ['a.example'], ports: [{ number: 0 }] }, /^spec\.ports\[0\]/],
  ['a machine', 'WorkloadEntry', { address: '10.0.0.1', ports: { http: 80 } }, undefined],
  ['a machine without address', 'WorkloadEntry', { network: 'n' }, undefined],
  [
    'a socket',
    'WorkloadEntry',
    { address: 'unix:///x' },
    /^spec\.address: .*neither an IP address nor a host name/,
  ],
  [
    'a port too high',
    'WorkloadEntry',
    { address: '10.0.0.1', ports: { http: 70_000 } },
    /^spec\.ports\.http: 70000/,
  ],
  ['a negative weight', 'WorkloadEntry', { address: '10.0.0.1', weight: -1 }, /^spec\.weight: -1/],
  ['a group', 'WorkloadGroup', { template: { serviceAccount: 'x' } }, undefined],
  ['a group of nothing', 'WorkloadGroup', {}, /^spec\.template/],
]
for (const [title, kind, spec, want] of cases)
  t.test(`${kind}: ${title}`, async (t) => {
    const errors = found(kind, spec)?.errors ?? ['not read']
    if (want === undefined) t.same(errors, [])
    else t.match(errors[0], want)
  })

t.test('what works, but not as one may think, is a warning', async (t) => {
  const l7 = found('AuthorizationPolicy', { rules: [{ to: [{ operation: { methods: ['GET'] } }] }] })
  t.match(l7?.warnings, [/rules\[0\] \(methods\) allows nothing/])
  t.match(found('PeerAuthentication', { mtls: { mode: 'DISABLE' } })?.warnings, [/PERMISSIVE/])
  const root = { selector: { matchLabels: { a: 'b' } }, mtls: { mode: 'STRICT' } }
  t.match(found('PeerAuthentication', root, { namespace: 'istio-system' })?.warnings, [/selects nothing/])
  t.same(found('AuthorizationPolicy', fromBlock('::1'))?.warnings, [])
  const wild = {
    hosts: ['*.example'],
    resolution: 'NONE',
    ports: [{ number: 53, name: 'd', protocol: 'UDP' }],
  }
  t.match(found('ServiceEntry', wild)?.warnings, [/DYNAMIC_DNS and a waypoint/, /UDP does not cross/])
  const spoken = (protocol: string) => ({
    hosts: ['a.example'],
    ports: [{ number: 80, name: 'a', protocol }],
    resolution: 'DNS',
  })
  t.match(found('ServiceEntry', spoken('HTPT'))?.warnings, [
    /^spec\.ports\[0\]\.protocol: "HTPT" is not known/,
  ])
  for (const protocol of ['http', 'MYSQL', 'TLS', 'GRPC'])
    t.same(found('ServiceEntry', spoken(protocol))?.warnings, [], protocol)
  const exported = { hosts: ['a.example'], exportTo: ['.', 'bank'] }
  t.match(found('ServiceEntry', exported)?.warnings, [/^spec\.exportTo: single namespaces/])
  t.same(found('ServiceEntry', { ...exported, exportTo: ['bank', '*'] })?.warnings, [])
})

t.test('garbage is an error, never an exception', async (t) => {
  const garbage: unknown[] = [
    null,
    5,
    'x',
    [],
    true,
    [[]],
    { a: null },
    { rules: {} },
    { hosts: 5, ports: 'x' },
  ]
  for (const kind of [
    'AuthorizationPolicy',
    'PeerAuthentication',
    'ServiceEntry',
    'WorkloadEntry',
    'WorkloadGroup',
  ])
    for (const spec of garbage) t.ok(found(kind, spec), `${kind} ${JSON.stringify(spec)}`)
})

t.test('other kinds are not read', async (t) => {
  t.equal(found('VirtualService', {}), undefined)
})
