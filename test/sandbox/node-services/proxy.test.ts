import t from 'tap'
import { MeshError } from '#base'
import { type EndpointSlice, fixed, keyOf, type KubeObject, type Service, Table } from '#kube'
import { silent } from '#telemetry'
import { startProxy } from '../../../sandbox/node-services/proxy.ts'
import { proxyRules, withoutAffinity } from '../../../sandbox/node-services/proxy-rules.ts'

const service = (name: string, ip: string, spec: Service['spec'] = {}): Service => ({
  metadata: { name, namespace: 'shop' },
  spec: { clusterIPs: [ip], ports: [{ name: 'http', port: 80, protocol: 'TCP' }], ...spec },
})
const slice = (of: string, addresses: string[], o: Partial<EndpointSlice> = {}): EndpointSlice => ({
  metadata: { name: of, namespace: 'shop', labels: { 'kubernetes.io/service-name': of } },
  addressType: 'IPv4',
  endpoints: [{ addresses, conditions: { ready: true } }],
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  ...o,
})
const rules = (services: Service[], slices: EndpointSlice[]) =>
  proxyRules({ services, slices, node: 'n1', skip: ['10.96.0.10'] })
const dnats = (text: string) =>
  text
    .split('\n')
    .filter((line) => line.includes('dnat'))
    .map((line) => line.trim())
const refused = (text: string) => /set no-endpoints4 {[^}]*elements = {([^}]*)}/.exec(text)?.[1]?.trim()

t.test('one ruleset names every Service, its endpoints or its lack of them', async (t) => {
  const text = rules(
    [service('b', '10.96.0.51'), service('a', '10.96.0.50')],
    [slice('a', ['10.244.2.5', '10.244.1.5'])],
  )
  t.ok(
    text.startsWith('table inet lateen-proxy\ndelete table inet lateen-proxy\ntable inet lateen-proxy {\n'),
  )
  t.same(dnats(text), [
    'meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.244.1.5 . 8080, 1 : 10.244.2.5 . 8080 }',
  ])
  t.match(text, /10\.96\.0\.50 \. tcp \. 80 : goto svc-/)
  t.equal(refused(text), '10.96.0.51 . tcp . 80,')
  t.match(text, /comment "shop\/a:http"/)
})

t.test('the same input gives the same text, whatever its order', async (t) => {
  const [a, b] = [service('a', '10.96.0.50'), service('b', '10.96.0.51')]
  const [x, y] = [slice('a', ['10.244.1.5', '10.244.1.6']), slice('b', ['10.244.1.7'])]
  t.equal(rules([a, b], [x, y]), rules([b, a], [y, x]))
})

const cases: [string, Service, EndpointSlice[], string[], string | undefined][] = [
  [
    'an endpoint that is not ready',
    service('a', '10.96.0.50'),
    [slice('a', [], { endpoints: [{ addresses: ['10.1.1.1'], conditions: { ready: false } }] })],
    [],
    '10.96.0.50 . tcp . 80,',
  ],
  [
    'an endpoint of unknown state counts',
    service('a', '10.96.0.50'),
    [slice('a', [], { endpoints: [{ addresses: ['10.1.1.1'] }] })],
    ['0 : 10.1.1.1 . 8080'],
    undefined,
  ],
  [
    'a port of another name',
    service('a', '10.96.0.50'),
    [slice('a', ['10.1.1.1'], { ports: [{ name: 'x', port: 1, protocol: 'TCP' }] })],
    [],
    '10.96.0.50 . tcp . 80,',
  ],
  [
    'a port of another protocol',
    service('a', '10.96.0.50'),
    [slice('a', ['10.1.1.1'], { ports: [{ name: 'http', port: 1, protocol: 'UDP' }] })],
    [],
    '10.96.0.50 . tcp . 80,',
  ],
  [
    'a slice of another Service',
    service('a', '10.96.0.50'),
    [slice('b', ['10.1.1.1'])],
    [],
    '10.96.0.50 . tcp . 80,',
  ],
  [
    'an address twice',
    service('a', '10.96.0.50'),
    [slice('a', ['10.1.1.1', '10.1.1.1'])],
    ['0 : 10.1.1.1 . 8080'],
    undefined,
  ],
  [
    'addresses of the node itself are left alone',
    service('a', '10.96.0.10'),
    [slice('a', ['10.1.1.1'])],
    [],
    undefined,
  ],
  ['headless', service('a', 'None'), [slice('a', ['10.1.1.1'])], [], undefined],
  [
    'a protocol that nft does not know',
    service('a', '10.96.0.50', { ports: [{ port: 80, protocol: 'QUIC' }] }),
    [],
    [],
    undefined,
  ],
  ['a port that is none', service('a', '10.96.0.50', { ports: [{ port: 70_000 }] }), [], [], undefined],
  [
    'an endpoint that is no address',
    service('a', '10.96.0.50'),
    [slice('a', ['1.2.3.4; flush ruleset'])],
    [],
    '10.96.0.50 . tcp . 80,',
  ],
]
for (const [name, one, slices, wanted, none] of cases)
  t.test(name, async (t) => {
    const text = rules([one], slices)
    const targets = dnats(text).map((line) => /map { (.*) }/.exec(line)?.[1])
    t.same(targets, wanted)
    t.equal(refused(text), none)
  })

t.test('nothing of a name reaches the rules but harmless characters', async (t) => {
  const evil = service('a', '10.96.0.50', {
    ports: [{ name: 'x" } flush ruleset #', port: 80, protocol: 'TCP' }],
  })
  const text = rules(
    [evil],
    [slice('a', ['10.1.1.1'], { ports: [{ name: 'x" } flush ruleset #', port: 1, protocol: 'TCP' }] })],
  )
  t.match(text, /comment "shop\/a:xflushruleset"/)
})

t.test('Services that ask for affinity are named', async (t) => {
  t.same(
    withoutAffinity([
      service('a', '10.96.0.50', { sessionAffinity: 'ClientIP' }),
      service('b', '10.96.0.51', { sessionAffinity: 'None' }),
    ]),
    ['shop/a'],
  )
})

const table = <T extends KubeObject>(name: string, list: readonly T[]) =>
  fixed(name, Object.fromEntries(list.map((row) => [keyOf(row), row])))

t.test('changes are loaded in one go, and a ruleset that did not load is tried again', async (t) => {
  const services = new Table<Service>('services')
  const loads: string[] = []
  let failures = 1
  let heard = Promise.withResolvers<void>()
  await using _ = await startProxy({
    services: services.collection,
    slices: table('slices', [slice('a', ['10.1.1.1'])]),
    node: 'n1',
    skip: [],
    signal: AbortSignal.timeout(10_000),
    log: silent,
    apply: async (text) => {
      if (failures-- > 0) throw new MeshError('syscall-failed')
      loads.push(text)
      heard.resolve()
    },
  })
  t.equal(loads.length, 1, 'started with the second try')
  heard = Promise.withResolvers<void>()
  for (const [i, name] of ['a', 'b', 'c'].entries()) {
    const row = service(name, `10.96.0.${i + 50}`)
    services.apply([{ key: keyOf(row), old: undefined, row }])
  }
  await heard.promise
  t.equal(loads.length, 2, 'three changes, one load')
  for (const i of [50, 51, 52]) t.match(loads[1], `10.96.0.${i} . tcp . 80`)
})
