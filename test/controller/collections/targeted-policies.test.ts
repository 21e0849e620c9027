import t from 'tap'
import { decodeTargeted } from '#policy'
import { serviceKindOf } from '#wire'
import { targetedPolicies } from '../../../controller/collections/resources.ts'
import { meshOf, service, settings } from './world.ts'

const targetRefs = [{ kind: 'Service', name: 'order' }]
/** What is written → how waypoints enforce it, and whether its status tells that this is more than was written. */
const cases: [title: string, spec: Record<string, unknown>, enforced: string, closed: RegExp | undefined][] =
  [
    [
      'who may call, by identity',
      { rules: [{ from: [{ source: { principals: ['cluster.local/ns/a/sa/b'] } }] }] },
      'allow 1 rules',
      undefined,
    ],
    [
      'an ALLOW that asks for methods allows nothing',
      { rules: [{ to: [{ operation: { methods: ['GET'] } }] }] },
      'allow 0 rules',
      /waypoints do not judge L7 attributes yet: spec\.rules\[0\].*methods.* allows nothing/,
    ],
    [
      'a DENY that asks for paths denies more',
      { action: 'DENY', rules: [{ to: [{ operation: { paths: ['/admin'] } }] }] },
      'deny 1 rules',
      /denies everything/,
    ],
    [
      'an external authorizer is not asked',
      { action: 'CUSTOM', provider: { name: 'x' }, rules: [{}] },
      'deny 1 rules',
      /no external authorizer is asked: what the rules match is denied/,
    ],
  ]
for (const [title, spec, enforced, closed] of cases)
  t.test(title, async (t) => {
    const mesh = meshOf({
      policies: [{ metadata: { name: 'p', namespace: 'shop' }, spec: { ...spec, targetRefs } }],
    })
    const [row] = [...mesh.policies.compiled.list()]
    const [resource] = [...targetedPolicies(mesh.policies.compiled, settings).list()]
    const read = decodeTargeted('shop/p', resource?.any.value ?? new Uint8Array())
    if ('unreadable' in read) return t.fail(read.unreadable)
    const { action, rules, problems } = read.authorization
    t.equal(`${action} ${rules.length} rules`, enforced)
    t.same(problems, [])
    t.same(read.targets, [{ kind: 'Service', namespace: 'shop', name: 'order' }])
    if (closed) t.match(row?.closed, closed)
    else t.equal(row?.closed, undefined)
    t.equal(row?.authorization, undefined, 'ztunnels are told nothing of it')
  })

t.test('a host of a ServiceEntry is told apart from a Service of the same name', async (t) => {
  const mesh = meshOf({
    services: [service()],
    serviceEntries: [
      {
        metadata: { name: 'order', namespace: 'shop' },
        spec: { hosts: ['order.example.com'], ports: [{ number: 80, name: 'http' }], resolution: 'DNS' },
      },
    ],
  })
  const kinds = mesh.services
    .list()
    // By what is said, not by the host.
    .map((row) => ({ ...row, hostname: 'order.shop.svc.cluster.local', said: row.hostname }))
    .map((row) => `${serviceKindOf(row)} ${row.name} ${row.said}`)
  t.same([...kinds].sort(), [
    'Service order order.shop.svc.cluster.local',
    'ServiceEntry order order.example.com',
  ])
})

const pod = { kind: 'Pod', name: 'x' }
const order = { kind: 'Service', name: 'order' }
const readOrder = { kind: 'Service', namespace: 'shop', name: 'order' }
/** Targets → what waypoints are told, which is more than was written where some of it cannot be read. */
const unreadable: readonly [title: string, namespace: string, targetRefs: unknown[], told: unknown[]][] = [
  ['the only one: its namespace', 'shop', [pod], [{ kind: 'Namespace', namespace: 'shop', name: '' }]],
  ['one of two', 'shop', [order, pod], [readOrder, { kind: 'Namespace', namespace: 'shop', name: '' }]],
  [
    'in the root namespace: the mesh',
    'istio-system',
    [pod],
    [{ kind: 'Namespace', namespace: '', name: '' }],
  ],
  [
    'those that are too many',
    'shop',
    Array.from({ length: 17 }, () => order),
    [...Array.from({ length: 16 }, () => readOrder), { kind: 'Namespace', namespace: 'shop', name: '' }],
  ],
]
for (const [title, namespace, targetRefs, told] of unreadable)
  t.test(`a target that cannot be read is everything in reach: ${title}`, async (t) => {
    const rules = [{ from: [{ source: { principals: ['cluster.local/ns/a/sa/b'] } }] }]
    const mesh = meshOf({ policies: [{ metadata: { name: 'p', namespace }, spec: { rules, targetRefs } }] })
    const [resource] = mesh.targetedPolicies.list()
    const read = decodeTargeted(`${namespace}/p`, resource?.any.value ?? new Uint8Array())
    if ('unreadable' in read) return t.fail(read.unreadable)
    t.same(read.targets, told)
    t.same([read.authorization.action, read.authorization.rules.length], ['allow', 0], 'it allows nobody')
    const [condition] = mesh.policies.policyConditions.get(`${namespace}/p`) ?? []
    t.match(condition, { type: 'WaypointAccepted', reason: /Invalid|PartiallyInvalid/ })
    t.match(condition?.message, /a target that cannot be read is taken for everything in reach/)
  })
