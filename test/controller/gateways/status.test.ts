import t from 'tap'
import type { Custom, Service } from '#kube'
import { gatewayStatus, hostOf, type Seen, statusPatch } from '../../../controller/gateways/index.ts'
import { builtIn, gatewayOf, waypoint } from './gateway-kit.ts'

const now = '2026-02-02T00:00:00Z'

const service: Service = {
  metadata: { name: 'waypoint', namespace: 'shop' },
  spec: { clusterIP: '10.96.0.9', clusterIPs: ['10.96.0.9', 'fd00::9'] },
}
const balanced: Service = { ...service, spec: { ...service.spec, type: 'LoadBalancer' } }
const all = new Set([15_008])
const listener = (port: number, protocol: string) => ({
  spec: { listeners: [{ name: 'l', port, protocol }] },
})
const says = (object: Custom, seen: Partial<Seen>) => {
  const gateway = gatewayOf(object)
  const host = hostOf(gateway, 'cluster.local')
  return gatewayStatus(gateway, builtIn('istio-waypoint'), {
    host,
    service: undefined,
    readyPorts: new Set(),
    ...seen,
  })
}
const summary = ({ conditions }: ReturnType<typeof says>) =>
  conditions.map(({ type, status, reason }) => `${type} ${status} ${reason}`).join(', ')

/** Gateway, what there is, its conditions, and what a message says. */
const rows: readonly (readonly [string, Custom, Partial<Seen>, string, RegExp])[] = [
  [
    'nothing is there yet',
    waypoint(),
    {},
    'Accepted True Accepted, Programmed False AddressNotAssigned',
    /does not exist yet/,
  ],
  [
    'a Service without anybody behind it',
    waypoint(),
    { service },
    'Accepted True Accepted, Programmed False AddressNotAssigned',
    /no ready endpoint behind waypoint\.shop\.svc\.cluster\.local:15008/,
  ],
  [
    'somebody ready behind another port',
    waypoint(),
    { service, readyPorts: new Set([15_021]) },
    'Accepted True Accepted, Programmed False AddressNotAssigned',
    /no ready endpoint/,
  ],
  [
    'somebody ready',
    waypoint(),
    { service, readyPorts: all },
    'Accepted True Accepted, Programmed True Programmed',
    /waypoint\.shop\.svc\.cluster\.local:15008/,
  ],
  [
    'a load balancer that is pending',
    waypoint(),
    { service: balanced, readyPorts: all },
    'Accepted True Accepted, Programmed False AddressNotAssigned',
    /load balancer/,
  ],
  [
    'another port',
    waypoint(listener(15_009, 'HBONE')),
    { service, readyPorts: all },
    'Accepted False ListenersNotValid, Programmed False Invalid',
    /cannot be served: l/,
  ],
  [
    'another protocol',
    waypoint(listener(15_008, 'HTTP')),
    { service, readyPorts: all },
    'Accepted False ListenersNotValid, Programmed False Invalid',
    /cannot be served: l/,
  ],
  [
    'no listener',
    waypoint({ spec: { listeners: [] } }),
    { service, readyPorts: all },
    'Accepted False ListenersNotValid, Programmed False Invalid',
    /none/,
  ],
  [
    'parameters',
    waypoint(),
    { service, readyPorts: all, invalidParameters: 'why' },
    'Accepted False InvalidParameters, Programmed False Invalid',
    /^why$/,
  ],
  [
    'addresses of nobody',
    waypoint({ spec: { addresses: [{ value: '1.1.1.1' }, { value: '1.1.1.2' }] } }),
    { service, readyPorts: all },
    'Accepted False UnsupportedAddress, Programmed False Invalid',
    /spec\.addresses/,
  ],
]
t.test('conditions of a waypoint', async (t) => {
  for (const [title, object, seen, want, message] of rows) {
    const status = says(object, seen)
    t.equal(summary(status), want, title)
    t.match(status.conditions[1]?.message, message, title)
  }
})

t.test('addresses: published when somebody is ready, and kept when nobody is any more', async (t) => {
  const addresses = [
    { type: 'IPAddress', value: '10.96.0.9' },
    { type: 'IPAddress', value: 'fd00::9' },
    { type: 'Hostname', value: 'waypoint.shop.svc.cluster.local' },
  ]
  t.strictSame(says(waypoint(), { service }).addresses, [], 'nobody was ever there')
  t.strictSame(says(waypoint(), { service, readyPorts: all }).addresses, addresses)
  t.strictSame(says(waypoint({ status: { addresses } }), { service }).addresses, addresses, 'kept')
})

t.test('the status of a listener: its name, no kinds, no routes, four conditions', async (t) => {
  const lower = statusPatch(undefined, says(waypoint(listener(15_008, 'hbone')), {}), 3, now)
  t.match(lower, {
    listeners: [
      {
        name: 'l',
        supportedKinds: [],
        attachedRoutes: 0,
        conditions: [
          { type: 'Accepted', status: 'False', reason: 'UnsupportedProtocol', message: /in capitals/ },
          { type: 'Programmed', status: 'False', reason: 'Invalid' },
          { type: 'Conflicted', status: 'False' },
          { type: 'ResolvedRefs', status: 'True' },
        ],
      },
    ],
  })
})

t.test('a status is written once, and times stay as long as what they are of', async (t) => {
  const first = statusPatch(undefined, says(waypoint(), { service }), 1, now)
  t.equal(statusPatch(first, says(waypoint(), { service }), 1, 'later'), undefined)
  const ready = statusPatch(first, says(waypoint(), { service, readyPorts: all }), 1, 'later')
  t.match(ready, {
    conditions: [
      { type: 'Accepted', lastTransitionTime: now },
      { type: 'Programmed', status: 'True', lastTransitionTime: 'later' },
    ],
  })
  for (const garbage of [
    null,
    5,
    'x',
    { conditions: 5, listeners: 'x', addresses: {} },
    { listeners: [null] },
  ])
    t.match(statusPatch(garbage, says(waypoint(), { service }), 1, now), first ?? {}, 'garbage is replaced')
})

t.test(
  'a gateway somewhere else has the addresses that its user wrote, and nothing else to say',
  async (t) => {
    const addresses = [{ type: 'IPAddress', value: '1.2.3.4' }]
    const gateway = gatewayOf(waypoint({ spec: { addresses } }))
    const status = gatewayStatus(gateway, builtIn('istio-remote'), {
      host: undefined,
      service: undefined,
      readyPorts: new Set(),
    })
    t.strictSame(status.addresses, addresses)
    t.strictSame(status.listeners, [])
    t.equal(summary(status), 'Accepted True Accepted, Programmed True Programmed')
  },
)

t.test('the Service that stands for a Gateway', async (t) => {
  const host = (...addresses: Record<string, string>[]) =>
    hostOf(gatewayOf(waypoint({ spec: { addresses } })), 'cluster.local')?.serviceKey
  t.equal(host(), 'shop/waypoint')
  t.equal(host({ value: '10.0.0.1' }), 'shop/waypoint', 'one address: still ours to deploy')
  t.equal(host({ type: 'Hostname', value: 'mine' }), 'shop/mine')
  t.equal(host({ type: 'Hostname', value: 'mine.other.svc.cluster.local' }), 'other/mine')
  t.equal(host({ type: 'Hostname', value: 'example.com' }), undefined)
  t.equal(host({ type: 'Hostname', value: 'a' }, { type: 'Hostname', value: 'b' }), undefined)
})

t.test('fields that a waypoint does not heed are told', async (t) => {
  const mesh = { name: 'mesh', port: 15_008, protocol: 'HBONE' }
  const messageOf = (spec: object) =>
    says(waypoint({ spec: { listeners: [mesh], ...spec } }), { service, readyPorts: all }).conditions[0]
      ?.message
  t.equal(messageOf({}), 'the Gateway can be deployed')
  for (const [spec, path] of [
    [{ allowedListeners: { namespaces: { from: 'All' } } }, 'spec.allowedListeners'],
    [{ tls: { backend: {} } }, 'spec.tls'],
    [{ defaultScope: 'All' }, 'spec.defaultScope'],
    [{ infrastructure: { size: 5 } }, 'spec.infrastructure.size'],
    [{ listeners: [{ ...mesh, unheardOf: 1 }] }, 'spec.listeners[0].unheardOf'],
    [{ listeners: [{ ...mesh, hostname: 'a.example' }] }, 'hostname of listener mesh'],
    [{ listeners: [{ ...mesh, tls: { mode: 'Terminate' } }] }, 'tls of listener mesh'],
  ] as const)
    t.equal(messageOf(spec), `the Gateway can be deployed; not heeded: ${path}`)
})
