import t from 'tap'
import { decodeTargeted } from '#policy'
import { serviceKindOf } from '#wire'
import { targetedPolicies } from '../../../controller/collections/resources.ts'
import { meshOf, service } from './world.ts'

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
    const [resource] = [...targetedPolicies(mesh.policies.compiled).list()]
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
    .map(({ extensions, name, hostname }) => `${serviceKindOf(extensions)} ${name} ${hostname}`)
  t.same([...kinds].sort(), [
    'Service order order.shop.svc.cluster.local',
    'ServiceEntry order order.example.com',
  ])
})
