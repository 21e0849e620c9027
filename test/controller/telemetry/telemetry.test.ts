import t from 'tap'
import { type Collection, type ConfigMap, type Custom, fixed } from '#kube'
import {
  defaultAccessFields,
  defaultAccessText,
  metricNames,
  parseWaypointTelemetry,
  silent,
  type WaypointTelemetry,
} from '#telemetry'
import type { Waypoint } from '../../../controller/collections/waypoints.ts'
import type { RoutedService } from '../../../controller/routes/index.ts'
import { telemetryFindings, telemetryFrom } from '../../../controller/telemetry/index.ts'
import { meshTelemetryFrom } from '../../../controller/telemetry/mesh-logging.ts'
import { settings } from '../collections/world.ts'

const waypoint = (namespace: string, name: string): Waypoint =>
  ({ key: `${namespace}/${name}`, namespace, name, className: 'istio-waypoint' }) as Waypoint
const service = (name: string, waypoints: readonly string[], kind: RoutedService['kind'] = 'Service') =>
  ({
    name: `shop/${name}.shop.svc.cluster.local`,
    key: `shop/${name}`,
    kind,
    waypoints,
  }) as unknown as RoutedService

type Object = Readonly<{ at: string; spec: unknown; created?: string }>
const telemetry = ({ at, spec, created = '2026-01-01T00:00:00Z' }: Object): [string, Custom] => {
  const [namespace, name] = at.split('/') as [string, string]
  return [
    at,
    {
      apiVersion: 'telemetry.istio.io/v1',
      kind: 'Telemetry',
      metadata: { namespace, name, creationTimestamp: created },
      spec,
    } as unknown as Custom,
  ]
}

/** What the waypoint `shop/waypoint` is told, and what the owners of objects are. */
function made(mesh: string | undefined, objects: readonly Object[] = []) {
  const maps: Collection<ConfigMap> = fixed(
    'Maps',
    mesh === undefined ? {} : { 'istio-system/istio': { data: { mesh } } as unknown as ConfigMap },
  )
  const derived = telemetryFrom(
    { telemetries: fixed('Telemetries', Object.fromEntries(objects.map(telemetry))), maps },
    {
      waypoints: fixed('Waypoints', {
        'shop/waypoint': waypoint('shop', 'waypoint'),
        'other/waypoint': waypoint('other', 'waypoint'),
      }),
      hiddenNamespaces: fixed('Hidden', {}),
    },
    fixed('Services', {
      order: service('order', ['shop/waypoint']),
      cart: service('cart', ['shop/waypoint']),
      far: service('far', ['other/waypoint']),
    }),
    settings,
    silent,
  )
  const told = (key: string): WaypointTelemetry => {
    const row = derived.resources.get(`waypoint:${key}`)
    const read = parseWaypointTelemetry(row?.any.value ?? Buffer.alloc(0))
    if (read.kind === 'unreadable') throw new Error(read.problem)
    return read.telemetry
  }
  const conditions = Object.fromEntries(
    objects.map(({ at }) => {
      const [one] = derived.conditions.get(at) ?? []
      return [at, `${one?.status} ${one?.reason}: ${one?.message}`]
    }),
  )
  return {
    told: told('shop/waypoint'),
    other: told('other/waypoint'),
    conditions,
    resources: derived.resources,
  }
}

const textLog = { format: { kind: 'text', text: defaultAccessText }, omitsEmpty: false }
const on = 'accessLogFile: /dev/stdout'
const named = (filter?: string) => ({ ...textLog, ...(filter === undefined ? {} : { filter }) })

t.test('what the mesh says of its log', async (t) => {
  t.strictSame(made(undefined).told.logs, [], 'Istio logs nothing unless it is told to')
  t.strictSame(made('{}').told.logs, [])
  t.strictSame(made(on).told.logs, [textLog])
  t.strictSame(made(`${on}\naccessLogFormat: "%PROTOCOL%\\n"`).told.logs, [
    { format: { kind: 'text', text: '%PROTOCOL%\n' }, omitsEmpty: false },
  ])
  t.strictSame(made(`${on}\naccessLogEncoding: JSON`).told.logs, [
    { format: { kind: 'json', fields: defaultAccessFields }, omitsEmpty: false },
  ])
  t.strictSame(
    made(`${on}\naccessLogEncoding: JSON\naccessLogFormat: '{"a":{"b":"%PROTOCOL%"}}'`).told.logs,
    [{ format: { kind: 'json', fields: { a: { b: '%PROTOCOL%' } } }, omitsEmpty: false }],
  )
})

t.test('settings that cannot be read say nothing', async (t) => {
  for (const mesh of [
    `${on}\naccessLogFormat: "%NOSUCH%"`,
    `${on}\naccessLogEncoding: XML`,
    `${on}\naccessLogEncoding: JSON\naccessLogFormat: "%PROTOCOL%"`,
    'accessLogFile: [a]',
    'extensionProviders: {}',
    'extensionProviders: [{name: a, envoyFileAccessLog: {logFormat: {text: "%X"}}}]',
    'extensionProviders: [{envoyFileAccessLog: {}}]',
  ])
    t.strictSame(made(mesh).told.logs, [], mesh)
})

const providers = `${on}
extensionProviders:
- {name: short, envoyFileAccessLog: {path: /dev/stdout, logFormat: {text: "%PROTOCOL%"}}}
- {name: labelled, envoyFileAccessLog: {logFormat: {labels: {p: "%PROTOCOL%"}}, omitEmptyValues: true}}
- {name: collector, envoyOtelAls: {service: otel, port: 4317}}
`
const short = { format: { kind: 'text', text: '%PROTOCOL%' }, omitsEmpty: false }
const labelled = { format: { kind: 'json', fields: { p: '%PROTOCOL%' } }, omitsEmpty: true }
const logging = (...entries: unknown[]) => ({ accessLogging: entries })
const by = (name: string, more = {}) => ({ providers: [{ name }], ...more })

t.test('Telemetry objects, from the mesh to the service', async (t) => {
  const cases: readonly [string, readonly Object[], readonly unknown[]][] = [
    ['providers of the mesh', [{ at: 'istio-system/all', spec: logging(by('short')) }], [short]],
    [
      'a namespace has the last word on providers',
      [
        { at: 'istio-system/all', spec: logging(by('short')) },
        { at: 'shop/own', spec: logging(by('labelled')) },
      ],
      [labelled],
    ],
    [
      'a filter without providers is for those named above',
      [
        { at: 'istio-system/all', spec: logging(by('envoy')) },
        { at: 'shop/own', spec: logging({ filter: { expression: 'response.code >= 500' } }) },
      ],
      [named('response.code >= 500')],
    ],
    ['nothing is named anywhere: nobody logs', [{ at: 'shop/own', spec: logging({}) }], []],
    ['off', [{ at: 'shop/own', spec: logging(by('envoy', { disabled: true })) }], []],
    [
      'off for a namespace, on for a Gateway',
      [
        { at: 'istio-system/all', spec: logging(by('envoy')) },
        { at: 'shop/own', spec: logging({ disabled: true }) },
        {
          at: 'shop/gateway',
          spec: {
            targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'waypoint' }],
            ...logging({ disabled: false }),
          },
        },
      ],
      [textLog],
    ],
    [
      'of its class',
      [
        {
          at: 'istio-system/class',
          spec: {
            targetRefs: [
              { group: 'gateway.networking.k8s.io', kind: 'GatewayClass', name: 'istio-waypoint' },
            ],
            ...logging(by('short')),
          },
        },
      ],
      [short],
    ],
    [
      'for clients',
      [{ at: 'shop/own', spec: logging(by('short', { match: { mode: 'CLIENT' } })) }],
      [textLog],
    ],
    ['for servers', [{ at: 'shop/own', spec: logging(by('short', { match: { mode: 'SERVER' } })) }], [short]],
    ['another namespace’s', [{ at: 'other/own', spec: logging(by('short')) }], [textLog]],
    [
      'with a selector',
      [{ at: 'shop/own', spec: { selector: { matchLabels: { a: 'b' } }, ...logging(by('short')) } }],
      [textLog],
    ],
    ['nobody writes to a collector', [{ at: 'shop/own', spec: logging(by('collector')) }], []],
    [
      'the older of two',
      [
        { at: 'shop/young', created: '2026-02-01T00:00:00Z', spec: logging(by('labelled')) },
        { at: 'shop/old', created: '2026-01-01T00:00:00Z', spec: logging(by('short')) },
      ],
      [short],
    ],
    [
      'one that cannot be read',
      [{ at: 'shop/own', spec: logging(by('short', { filter: { expression: 'a +' } })) }],
      [textLog],
    ],
  ]
  for (const [title, objects, want] of cases) t.strictSame(made(providers, objects).told.logs, want, title)
})

t.test('a service may have a log of its own, and nobody else has it', async (t) => {
  const targetRefs = [{ kind: 'Service', group: '', name: 'order' }]
  const { told, other } = made(providers, [{ at: 'shop/own', spec: { targetRefs, ...logging(by('short')) } }])
  t.strictSame(told.logs, [textLog])
  t.strictSame(told.services, { 'shop/order.shop.svc.cluster.local': { logs: [short], metrics: {} } })
  t.strictSame(other.services, {})
})

t.test('default providers of the mesh', async (t) => {
  const mesh = `${providers}defaultProviders: {accessLogging: [short]}\n`
  t.strictSame(made(mesh).told.logs, [short])
  const filter = { expression: 'response.code == 500' }
  t.strictSame(made(mesh, [{ at: 'shop/own', spec: logging({ filter }) }]).told.logs, [
    { ...short, filter: 'response.code == 500' },
  ])
})

t.test('overrides of series', async (t) => {
  const overrides = (...list: unknown[]) => ({
    metrics: [{ providers: [{ name: 'prometheus' }], overrides: list }],
  })
  const { told } = made(on, [
    {
      at: 'istio-system/all',
      spec: overrides({
        tagOverrides: { host: { value: 'request.host' }, response_flags: { operation: 'REMOVE' } },
      }),
    },
    {
      at: 'shop/own',
      spec: overrides(
        { match: { metric: 'REQUEST_SIZE' }, disabled: true },
        { match: { metric: 'REQUEST_COUNT', mode: 'CLIENT' }, disabled: true },
        { match: { metric: 'REQUEST_COUNT' }, tagOverrides: { host: { value: "'x'" } } },
      ),
    },
  ])
  t.strictSame(Object.keys(told.metrics).sort(), [...metricNames].sort())
  t.strictSame(told.metrics.REQUEST_COUNT, { disabled: false, labels: { host: "'x'", response_flags: null } })
  t.strictSame(told.metrics.REQUEST_SIZE, {
    disabled: true,
    labels: { host: 'request.host', response_flags: null },
  })
})

t.test('owners are told', async (t) => {
  const { conditions } = made(providers, [
    { at: 'shop/good', spec: { targetRefs: [{ kind: 'Service', name: 'order' }], ...logging(by('short')) } },
    { at: 'shop/old', created: '2025-01-01T00:00:00Z', spec: logging(by('collector'), by('nobody')) },
    { at: 'shop/young', spec: logging(by('short')) },
    {
      at: 'shop/bad',
      spec: { ...logging(by('short', { filter: { expression: 'x.y == 1' } })), metrics: 'x' },
    },
    { at: 'shop/selector', spec: { selector: {} } },
    { at: 'other/traced', spec: { tracing: [{}], metrics: [{ providers: [{ name: 'stackdriver' }] }] } },
    { at: 'fourth/garbage', spec: 'garbage' },
    {
      at: 'third/tag',
      spec: { metrics: [{ overrides: [{ tagOverrides: { 'a-b': { value: '1' }, c: {} } }] }] },
    },
  ])
  t.match(conditions, {
    'shop/good': 'True Accepted: followed by waypoints',
    'shop/old':
      /^True PartiallyInvalid: .*collector is of kind envoyOtelAls.*; no extension provider is called nobody/,
    'shop/young': 'False Conflicted: namespace shop: shop/old is older',
    'shop/bad':
      /^False Invalid: spec.accessLogging\[0\].filter.expression: x.y is no attribute .*; spec.metrics: not a list/,
    'shop/selector': /^False UnsupportedValue: spec.selector: chooses no waypoint/,
    'other/traced': /^True PartiallyInvalid: .*spec.tracing: .*stackdriver/,
    'third/tag': /^False Invalid: .*a-b: no name of a label; .*c: neither a value nor REMOVE/,
  })
})

t.test('no value that cannot be right is passed over, nor a field that nobody knows', async (t) => {
  const override = (more: object) => ({ metrics: [{ overrides: [more] }] })
  const bad: Readonly<Record<string, unknown>> = {
    'spec.unheardOf': { unheardOf: 1 },
    'spec.accessLogging[0].unheardOf': { accessLogging: [{ unheardOf: 1 }] },
    'spec.accessLogging[0].disabled': { accessLogging: [{ disabled: 'yes' }] },
    'spec.accessLogging[0].match': { accessLogging: [{ match: 'SERVER' }] },
    'spec.accessLogging[0].providers[0].name': { accessLogging: [{ providers: [{ name: 5 }] }] },
    'spec.metrics[0].reportingInterval': { metrics: [{ reportingInterval: 'soon' }] },
    'spec.metrics[0].overrides[0].disabled': override({ disabled: 'yes' }),
    'spec.metrics[0].overrides[0].tagOverrides': override({ tagOverrides: 5 }),
    'spec.metrics[0].overrides[0].match': override({ match: [] }),
  }
  for (const [path, spec] of Object.entries(bad)) {
    const said = made(on, [{ at: 'shop/one', spec }]).conditions['shop/one'] ?? ''
    t.ok(said.startsWith('False Invalid: ') && said.includes(`${path}: `), `${path}: ${said}`)
  }
  const interval = made(on, [{ at: 'shop/one', spec: { metrics: [{ reportingInterval: '5s' }] } }])
  t.match(interval.conditions['shop/one'], /^True PartiallyInvalid: .*reportingInterval: no effect/)
})

t.test('whoever writes an object is told what will not be done of it', async (t) => {
  const warnings = (spec: unknown) =>
    telemetryFindings(
      'telemetry.istio.io',
      'Telemetry',
      telemetry({ at: 'shop/one', spec })[1],
      'istio-system',
    )?.warnings
  t.same(warnings({ accessLogging: [{ disabled: true }] }), [])
  t.match(warnings({ tracing: [{}] }), [/spec.tracing/])
  t.match(warnings({ accessLogging: [{ filter: { expression: 'x.y == 1' } }] }), [
    /x.y.*nothing of the object/,
  ])
  t.equal(
    telemetryFindings('networking.istio.io', 'Gateway', telemetry({ at: 'a/b', spec: {} })[1], 'x'),
    undefined,
  )
})

t.test('a resource is named by the waypoint’s key', async (t) => {
  const { resources } = made(on)
  t.match(resources.get('waypoint:shop/waypoint'), {
    name: 'waypoint:shop/waypoint',
    keys: ['waypoint:shop/waypoint'],
  })
})

t.test(
  'what a format asks for in vain is remarked where somebody asked for it, not of the default',
  async (t) => {
    t.same(meshTelemetryFrom('accessLogFile: /dev/stdout').remarks, [])
    const asked = meshTelemetryFrom("accessLogFile: /dev/stdout\naccessLogFormat: '%UPSTREAM_LOCAL_ADDRESS%'")
    t.equal(asked.remarks.length, 1)
    t.match(asked.remarks[0], /^accessLogFormat: .*UPSTREAM_LOCAL_ADDRESS/)
  },
)
