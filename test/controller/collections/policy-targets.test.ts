import t from 'tap'
import { meshOf, service } from './world.ts'

const gateway = { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'g' }
/** Targets → WaypointAccepted; the Service `order` exists. */
const attached: readonly [string, unknown, string, RegExp][] = [
  [
    'a Service',
    { targetRefs: [{ kind: 'Service', name: 'order' }] },
    'False AncestorNotBound',
    /shop\/order: it is not bound to a waypoint/,
  ],
  [
    'of group core',
    { targetRefs: [{ group: 'core', kind: 'Service', name: 'order' }] },
    'False AncestorNotBound',
    /./,
  ],
  [
    'a Service that does not exist',
    { targetRef: { kind: 'Service', name: 'x' } },
    'False TargetNotFound',
    /shop\/x does not exist/,
  ],
  [
    'an entry that does not exist',
    { targetRefs: [{ group: 'networking.istio.io', kind: 'ServiceEntry', name: 'x' }] },
    'False TargetNotFound',
    /./,
  ],
  ['a Gateway that does not exist', { targetRef: gateway }, 'False TargetNotFound', /./],
  [
    'another kind',
    { targetRef: { kind: 'Pod', name: 'x' } },
    'False Invalid',
    /spec\.targetRef\.kind: "Pod"/,
  ],
  ['another group', { targetRef: { ...gateway, group: 'x' } }, 'False Invalid', /spec\.targetRef\.kind/],
  ['another namespace', { targetRef: { ...gateway, namespace: 'x' } }, 'False Invalid', /own namespace/],
  ['no name', { targetRefs: [gateway, { kind: 'Service' }] }, 'False Invalid', /targetRefs\[1\]\.name/],
  [
    'a class outside the root namespace',
    { targetRef: { ...gateway, kind: 'GatewayClass' } },
    'False Invalid',
    /istio-system only/,
  ],
  ['nothing of a reference', { targetRefs: [gateway, 5] }, 'False Invalid', /targetRefs\[1\]: 5/],
]
for (const [title, spec, want, message] of attached)
  t.test(`attached to ${title}`, async (t) => {
    const policies = [{ metadata: { name: 'p', namespace: 'shop' }, spec }]
    const { policies: mesh } = meshOf({ policies, services: [service()] })
    const conditions = mesh.policyConditions.get('shop/p') ?? []
    t.same(
      conditions.map(({ type, status, reason }) => `${type} ${status} ${reason}`),
      [`WaypointAccepted ${want}`],
    )
    t.match(conditions[0]?.message, message)
    t.equal(mesh.authorizations.get('shop/p'), undefined)
  })
