import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import {
  conflictOf,
  gatewayStatus,
  isAttached,
  kindsOf,
  listenerProblem,
  mergedGatewayParents,
  parentEntries,
  readRoute,
  type RouteKind,
  statusPatch,
} from '../../../controller/gateways/index.ts'
import { builtIn, gatewayOf, waypoint } from './gateway-kit.ts'

type Given = Readonly<Record<string, unknown>>
const gatewayWith = (className: string, ...listeners: readonly Given[]) =>
  gatewayOf(
    waypoint({
      spec: {
        gatewayClassName: className,
        listeners: listeners.map((own, i) => ({ name: `l${i}`, ...own })),
      },
    }),
  )
const only = (own: Given) => {
  const [listener] = gatewayWith('istio', own).listeners
  if (!listener) throw new Error('no listener')
  return listener
}

/** Class, listener, and why it cannot be served; undefined: it can. */
const problems: readonly (readonly ['waypoint' | 'east-west' | 'ingress', Given, string | undefined])[] = [
  ['waypoint', { port: 15_008, protocol: 'HBONE' }, undefined],
  ['waypoint', { port: 15_008, protocol: 'hbone' }, 'UnsupportedProtocol'],
  ['waypoint', { port: 80, protocol: 'HTTP' }, 'UnsupportedProtocol'],
  ['east-west', { port: 15_008, protocol: 'HBONE', tls: { mode: 'Terminate' } }, undefined],
  ['east-west', { port: 15_008, protocol: 'HBONE', tls: {} }, undefined],
  ['east-west', { port: 15_008, protocol: 'HBONE' }, 'UnsupportedValue'],
  ['east-west', { port: 15_008, protocol: 'TLS', tls: { mode: 'Terminate' } }, 'UnsupportedProtocol'],
  ['east-west', { port: 15_443, protocol: 'TLS', tls: { mode: 'Passthrough' } }, undefined],
  ['east-west', { port: 15_443, protocol: 'TLS', tls: { mode: 'Terminate' } }, 'UnsupportedValue'],
  ['east-west', { port: 80, protocol: 'HTTP' }, 'UnsupportedProtocol'],
  ['ingress', { port: 80, protocol: 'HTTP' }, undefined],
  ['ingress', { port: 443, protocol: 'HTTPS', tls: { certificateRefs: [{ name: 'c' }] } }, undefined],
  ['ingress', { port: 443, protocol: 'HTTPS', tls: { mode: 'Passthrough' } }, 'UnsupportedValue'],
  ['ingress', { port: 443, protocol: 'TLS', tls: { mode: 'Passthrough' } }, undefined],
  ['ingress', { port: 443, protocol: 'TLS', tls: { mode: 'Mutual' } }, 'UnsupportedValue'],
  ['ingress', { port: 9000, protocol: 'TCP' }, undefined],
  ['ingress', { port: 53, protocol: 'UDP' }, 'UnsupportedProtocol'],
  ['ingress', { port: 80, protocol: 'http' }, 'UnsupportedProtocol'],
  ['ingress', { port: 15_008, protocol: 'HBONE' }, 'UnsupportedProtocol'],
]
t.test('which listeners a class can serve', async (t) => {
  for (const [kind, own, want] of problems) {
    const problem = listenerProblem(kind, only(own))
    t.equal(problem?.reason, want, `${kind} ${JSON.stringify(own)}`)
  }
  t.match(listenerProblem('ingress', only({ port: 80, protocol: 'http' }))?.message, /in capitals/)
})

/** Two listeners, and what the first is told. */
const pairs: readonly (readonly [Given, Given, string | undefined])[] = [
  [{ port: 80, protocol: 'HTTP' }, { port: 81, protocol: 'HTTP' }, undefined],
  [{ port: 80, protocol: 'HTTP' }, { port: 80, protocol: 'HTTP' }, 'HostnameConflict'],
  [
    { port: 80, protocol: 'HTTP', hostname: 'a' },
    { port: 80, protocol: 'HTTP', hostname: 'A' },
    'HostnameConflict',
  ],
  [{ port: 80, protocol: 'HTTP', hostname: 'a' }, { port: 80, protocol: 'HTTP', hostname: 'b' }, undefined],
  [{ port: 80, protocol: 'HTTP', hostname: 'a' }, { port: 80, protocol: 'HTTP' }, undefined],
  [{ port: 80, protocol: 'HTTP' }, { port: 80, protocol: 'TCP' }, 'ProtocolConflict'],
  [{ port: 80, protocol: 'TCP' }, { port: 80, protocol: 'HTTP' }, 'ProtocolConflict'],
  [{ port: 80, protocol: 'TCP' }, { port: 80, protocol: 'TCP' }, 'ProtocolConflict'],
  [{ port: 443, protocol: 'HTTP' }, { port: 443, protocol: 'HTTPS', hostname: 'b' }, 'ProtocolConflict'],
  [{ port: 443, protocol: 'TLS', hostname: 'a' }, { port: 443, protocol: 'HTTPS', hostname: 'b' }, undefined],
  [
    { port: 443, protocol: 'TLS', hostname: 'a' },
    { port: 443, protocol: 'HTTPS', hostname: 'a' },
    'HostnameConflict',
  ],
  [{ port: 15_008, protocol: 'HBONE' }, { port: 15_008, protocol: 'HBONE' }, 'ProtocolConflict'],
]
t.test(
  'listeners that share a port are told apart by host names, where their protocol has such',
  async (t) => {
    for (const [a, b, want] of pairs) {
      const { listeners } = gatewayWith('istio', a, b)
      const [first] = listeners
      t.equal(
        first && conflictOf(first, listeners)?.reason,
        want,
        `${JSON.stringify(a)} ${JSON.stringify(b)}`,
      )
    }
  },
)

t.test('of listeners in conflict none is served, and the others are', async (t) => {
  const http = { port: 80, protocol: 'HTTP' }
  const gateway = gatewayWith('istio', http, http, { port: 81, protocol: 'HTTP' })
  const seen = {
    host: { serviceKey: 'a/b', hostname: 'b.a' },
    service: undefined,
    readyPorts: new Set<number>(),
  }
  const status = gatewayStatus(gateway, builtIn('istio'), seen)
  const says = (i: number) =>
    status.listeners[i]?.conditions.map(({ type, status: is, reason }) => `${type}=${is} ${reason}`)
  for (const i of [0, 1])
    t.strictSame(says(i), [
      'Accepted=False HostnameConflict',
      'Programmed=False Invalid',
      'Conflicted=True HostnameConflict',
      'ResolvedRefs=True ResolvedRefs',
    ])
  t.strictSame(says(2), [
    'Accepted=True Accepted',
    'Programmed=False Pending',
    'Conflicted=False NoConflicts',
    'ResolvedRefs=True ResolvedRefs',
  ])
  t.match(status.conditions[0], {
    type: 'Accepted',
    status: 'True',
    reason: 'ListenersNotValid',
    message: /l0, l1/,
  })
  t.match(status.conditions[1], {
    type: 'Programmed',
    status: 'False',
    reason: 'NoResources',
    message: /no program/,
  })
  const none = gatewayStatus(gatewayWith('istio', http, http), builtIn('istio'), seen)
  t.match(none.conditions[0], { type: 'Accepted', status: 'False', reason: 'ListenersNotValid' })
})

t.test('a data plane that does not exist is not pretended, whatever stands behind the Service', async (t) => {
  for (const [name, listener] of [
    ['istio', { port: 80, protocol: 'HTTP' }],
    ['istio-east-west', { port: 15_008, protocol: 'HBONE', tls: {} }],
  ] as const) {
    const status = gatewayStatus(gatewayWith(name, listener), builtIn(name), {
      host: { serviceKey: 'a/b', hostname: 'b.a' },
      service: { metadata: {}, spec: { clusterIP: '10.0.0.1' } },
      readyPorts: new Set([80, 15_008]),
    })
    t.match(status.conditions, [
      { type: 'Accepted', status: 'True', reason: 'Accepted' },
      { type: 'Programmed', status: 'False', reason: 'NoResources' },
    ])
    t.strictSame(status.addresses, [], 'nobody is sent there')
  }
})

/** Listener, the kinds that may be attached, and those of its author that may not. */
const kindRows: readonly (readonly [Given, readonly RouteKind[], readonly string[]])[] = [
  [{ port: 1, protocol: 'HTTP' }, ['HTTPRoute', 'GRPCRoute'], []],
  [{ port: 1, protocol: 'HTTPS' }, ['HTTPRoute', 'GRPCRoute'], []],
  [{ port: 1, protocol: 'TLS', tls: { mode: 'Passthrough' } }, ['TLSRoute'], []],
  [{ port: 1, protocol: 'TLS', tls: {} }, ['TLSRoute', 'TCPRoute'], []],
  [{ port: 1, protocol: 'TCP' }, ['TCPRoute'], []],
  [{ port: 15_008, protocol: 'HBONE' }, [], []],
  [{ port: 1, protocol: 'HTTP', allowedRoutes: { kinds: [{ kind: 'GRPCRoute' }] } }, ['GRPCRoute'], []],
  [
    { port: 1, protocol: 'HTTP', allowedRoutes: { kinds: [{ kind: 'TCPRoute' }, { kind: 'HTTPRoute' }] } },
    ['HTTPRoute'],
    ['gateway.networking.k8s.io/TCPRoute'],
  ],
  [
    { port: 1, protocol: 'HTTP', allowedRoutes: { kinds: [{ group: 'x', kind: 'HTTPRoute' }, 5] } },
    [],
    ['x/HTTPRoute', 'gateway.networking.k8s.io/?'],
  ],
]
t.test('kinds of routes: what the protocol carries, less what the author leaves out', async (t) => {
  for (const [own, supported, invalid] of kindRows)
    t.strictSame(kindsOf(only(own)), { supported, invalid }, JSON.stringify(own))
})

t.test('what a listener refers to', async (t) => {
  const references = (own: Given) => {
    const status = gatewayStatus(gatewayWith('istio', own), builtIn('istio'), {
      host: undefined,
      service: undefined,
      readyPorts: new Set(),
    })
    const condition = status.listeners[0]?.conditions.find(({ type }) => type === 'ResolvedRefs')
    return `${condition?.status} ${condition?.reason}`
  }
  const https = { port: 443, protocol: 'HTTPS' }
  t.equal(references({ port: 80, protocol: 'HTTP' }), 'True ResolvedRefs')
  t.equal(references(https), 'False InvalidCertificateRef')
  t.equal(
    references({ ...https, tls: { certificateRefs: [{ kind: 'ConfigMap', name: 'x' }] } }),
    'False InvalidCertificateRef',
  )
  t.equal(
    references({ ...https, tls: { certificateRefs: [{ name: 'x' }] } }),
    'Unknown Pending',
    'nobody has read it',
  )
  t.equal(
    references({ port: 80, protocol: 'HTTP', allowedRoutes: { kinds: [{ kind: 'X' }] } }),
    'False InvalidRouteKinds',
  )
})

const route = (spec: Given, namespace = 'shop') =>
  readRoute('HTTPRoute', { metadata: { name: 'r', namespace }, spec })
const to = (ref: Given = {}, more: Given = {}) => ({ parentRefs: [{ name: 'waypoint', ...ref }], ...more })
const http: Given = { port: 80, protocol: 'HTTP' }
const from = (namespaces: Given) => ({ ...http, allowedRoutes: { namespaces } })
/** Listener, route, its namespace, and whether the listener takes it in. */
const attachments: readonly (readonly [string, Given, Given, string, boolean])[] = [
  ['by name', http, to(), 'shop', true],
  ['another Gateway', http, to({ name: 'x' }), 'shop', false],
  ['another namespace is not let in', http, to({ namespace: 'shop' }), 'other', false],
  ['all are let in', from({ from: 'All' }), to({ namespace: 'shop' }), 'other', true],
  [
    'selected ones are',
    from({ from: 'Selector', selector: { matchLabels: { team: 'other' } } }),
    to({ namespace: 'shop' }),
    'other',
    true,
  ],
  [
    'others are not',
    from({ from: 'Selector', selector: { matchLabels: { team: 'x' } } }),
    to({ namespace: 'shop' }),
    'other',
    false,
  ],
  ['a selector that cannot be read lets nobody in', from({ from: 'Selector' }), to(), 'shop', false],
  ['to this listener', http, to({ sectionName: 'l0' }), 'shop', true],
  ['to another', http, to({ sectionName: 'l1' }), 'shop', false],
  ['to this port', http, to({ port: 80 }), 'shop', true],
  ['to another port', http, to({ port: 81 }), 'shop', false],
  ['a parent that is a Service', http, to({ group: '', kind: 'Service' }), 'shop', false],
  ['kinds', { ...http, allowedRoutes: { kinds: [{ kind: 'GRPCRoute' }] } }, to(), 'shop', false],
  ['HBONE takes no routes', { port: 15_008, protocol: 'HBONE' }, to(), 'shop', false],
  ['one host name', { ...http, hostname: 'a.b' }, to({}, { hostnames: ['a.b'] }), 'shop', true],
  ['another', { ...http, hostname: 'a.b' }, to({}, { hostnames: ['c.b'] }), 'shop', false],
  ['any of the route', { ...http, hostname: 'a.b' }, to(), 'shop', true],
  ['any of the listener', http, to({}, { hostnames: ['c.b'] }), 'shop', true],
  ['under a wildcard', { ...http, hostname: '*.b' }, to({}, { hostnames: ['x.y.b'] }), 'shop', true],
  ['which is not its own apex', { ...http, hostname: '*.b' }, to({}, { hostnames: ['b'] }), 'shop', false],
  ['a wildcard of the route', { ...http, hostname: 'x.b' }, to({}, { hostnames: ['*.b'] }), 'shop', true],
  ['two wildcards', { ...http, hostname: '*.a.b' }, to({}, { hostnames: ['*.b'] }), 'shop', true],
  ['two that never meet', { ...http, hostname: '*.a' }, to({}, { hostnames: ['*.b'] }), 'shop', false],
  [
    'garbage',
    http,
    { parentRefs: [5, { name: 5 }, { name: 'waypoint', namespace: 5 }], hostnames: 'x' },
    'shop',
    false,
  ],
]
t.test('a route is attached where it and the listener want it', async (t) => {
  for (const [title, listener, spec, namespace, want] of attachments) {
    const gateway = gatewayWith('istio', listener)
    const [own] = gateway.listeners
    const labels = (name: string) => ({ team: name })
    t.equal(own && isAttached(route(spec, namespace), gateway, own, labels), want, title)
  }
})

t.test('what a route is told about the Gateways that it names', async (t) => {
  const gateway = gatewayWith(
    'istio',
    { ...http, hostname: 'a.b' },
    { port: 81, protocol: 'HTTP', allowedRoutes: { kinds: [{ kind: 'GRPCRoute' }] } },
  )
  const own = { gateway, known: builtIn('istio') }
  const says = (spec: Given, namespace = 'shop', handled: typeof own | undefined = own) =>
    parentEntries(
      route(spec, namespace),
      () => handled,
      () => undefined,
    ).map(({ parentRef, conditions }) => [
      parentRef,
      conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`),
    ])
  const unknown = 'ResolvedRefs=Unknown Pending'
  const refs = [{ name: 'waypoint' }, { name: 'waypoint', sectionName: 'l9' }, { name: 'waypoint', port: 81 }]
  t.strictSame(says({ parentRefs: refs }), [
    [refs[0], ['Accepted=True Accepted', unknown]],
    [refs[1], ['Accepted=False NoMatchingParent', unknown]],
    [refs[2], ['Accepted=False NotAllowedByListeners', unknown]],
  ])
  t.match(says({ parentRefs: refs.slice(0, 1), hostnames: ['x.y'] }), [
    [refs[0], ['Accepted=False NoMatchingListenerHostname']],
  ])
  t.match(says({ parentRefs: [{ name: 'waypoint', namespace: 'shop' }] }, 'other'), [
    [{}, ['Accepted=False NotAllowedByListeners']],
  ])
  t.strictSame(
    says({ parentRefs: [{ group: '', kind: 'Service', name: 'x' }] }),
    [],
    'Services are for others',
  )
  t.strictSame(
    parentEntries(
      route({ parentRefs: refs }),
      () => undefined,
      () => undefined,
    ),
    [],
    'not ours',
  )
  const [entry] = parentEntries(
    route({ parentRefs: refs }),
    () => own,
    () => undefined,
  )
  t.match(entry?.conditions[0]?.message, /no program for ingress gateways/, 'accepted is not served')
  const mesh = {
    gateway: gatewayWith('istio-waypoint', { port: 15_008, protocol: 'HBONE' }),
    known: builtIn('istio-waypoint'),
  }
  const [told] = parentEntries(
    route({ parentRefs: refs.slice(0, 1) }),
    () => mesh,
    () => undefined,
  )
  t.match(told?.conditions[0], { status: 'False', message: /name the Service as the parent/ })
})

t.test('entries of others among the parents of a route stay', async (t) => {
  const ours = 'istio.io/gateway-controller'
  const entry = (parentRef: unknown, controllerName = ours) => ({ parentRef, controllerName, conditions: [] })
  const condition = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'm' } as const
  const service = entry({ group: '', kind: 'Service', name: 's' })
  const foreign = entry({ name: 'g' }, 'example.com/x')
  const gone = entry({ name: 'gone' })
  const others = entry({ name: 'others' })
  const merged = mergedGatewayParents(
    { parents: [service, foreign, gone, entry({ name: 'g' }), others] },
    [{ parentRef: { name: 'g' }, conditions: [condition] }],
    (ref) => isDeepStrictEqual(ref, others.parentRef),
    ours,
    3,
    'now',
  )
  const written = {
    ...entry({ name: 'g' }),
    conditions: [{ ...condition, lastTransitionTime: 'now', observedGeneration: 3 }],
  }
  t.strictSame(merged, [service, foreign, written, others], 'each in its place')
  const again = { parents: merged ?? [] }
  const wanted = [{ parentRef: { name: 'g' }, conditions: [condition] }]
  t.equal(
    mergedGatewayParents(again, wanted, (ref) => isDeepStrictEqual(ref, others.parentRef), ours, 3, 'later'),
    undefined,
    'nothing to write',
  )
  for (const garbage of [undefined, 5, { parents: 'x' }])
    t.strictSame(
      mergedGatewayParents(garbage, wanted, () => true, ours, 3, 'now'),
      [written],
    )
})

t.test('kinds and numbers of routes are in the status of a listener', async (t) => {
  const status = gatewayStatus(gatewayWith('istio', http), builtIn('istio'), {
    host: undefined,
    service: undefined,
    readyPorts: new Set(),
    attached: () => 3,
  })
  t.match(statusPatch(undefined, status, 1, 'now'), {
    listeners: [
      {
        attachedRoutes: 3,
        supportedKinds: [
          { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute' },
          { group: 'gateway.networking.k8s.io', kind: 'GRPCRoute' },
        ],
      },
    ],
  })
})
