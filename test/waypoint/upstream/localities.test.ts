import t from 'tap'
import { parseService, type Service } from '#mesh'
import { workload as wire } from '#wire'
import { serviceWire } from '../../fakes/mesh.ts'
import { warming } from '../../../waypoint/upstream/warm-up.ts'
import { Cluster } from '../../../waypoint/upstream/cluster.ts'
import { policyOf } from '../kit.ts'
import { service, outliers, workload, clusterOf } from './cluster-kit.ts'

t.test('nearest first, and others as far as those are ill', async (t) => {
  const at = (region: string, zone = '') => ({ locality: { region, zone, subzone: '' } })
  const local = workload('me', 99, at('r1', 'z1'))
  const { cluster, names, fail } = clusterOf(
    0,
    { outliers: { ...outliers, maxEjectionPercent: 100 }, locality: { kind: 'failover', regions: [] } },
    local,
  )
  cluster.reset(service, [
    workload('same-zone', 1, at('r1', 'z1')),
    workload('same-region', 2, at('r1', 'z2')),
    workload('elsewhere', 3, at('r2')),
  ])
  t.same(names(), ['same-zone'])
  fail('same-zone', 3)
  t.same(names(), ['same-region'])
  fail('same-region', 3)
  t.same(names(), ['elsewhere'])
  cluster.obey(policyOf({ locality: { kind: 'failover', regions: [] } }))
  t.equal(names().length, 3, 'without outlier detection there is no failover')
})

t.test('shares by locality', async (t) => {
  const at = (region: string) => ({ locality: { region, zone: 'z', subzone: '' } })
  const local = workload('me', 99, at('r1'))
  const shares = [
    {
      from: 'r1/*',
      to: [
        { locality: 'r1/*', percent: 80 },
        { locality: 'r2/*', percent: 20 },
      ],
    },
  ]
  const { cluster } = clusterOf(
    0,
    { loadBalancer: { kind: 'round-robin' }, locality: { kind: 'distribute', shares } },
    local,
  )
  cluster.reset(service, [
    workload('a', 1, at('r1')),
    workload('b', 2, at('r2')),
    workload('c', 3, at('r2')),
    workload('d', 4, at('r3')),
  ])
  const counts: Record<string, number> = {}
  for (let i = 0; i < 1_000; i++) {
    const name = cluster.choose()?.workload.name ?? ''
    counts[name] = (counts[name] ?? 0) + 1
  }
  t.ok(Math.abs((counts['a'] ?? 0) - 800) < 10, JSON.stringify(counts))
  t.ok(Math.abs((counts['b'] ?? 0) - 100) < 10)
  t.notOk(counts['d'], 'who is not named gets nothing')
})

t.test(
  'shares by locality hold for every balancer, and shrink with the health of the locality',
  async (t) => {
    const at = (region: string) => ({ locality: { region, zone: 'z', subzone: '' } })
    const to = [
      { locality: 'r1', percent: 75 },
      { locality: 'r2', percent: 25 },
    ]
    const locality = { kind: 'distribute', shares: [{ from: 'r1', to }] } as const
    const keys = [{ kind: 'source-ip' }] as const
    const all = [workload('a', 1, at('r1')), workload('b', 2, at('r1')), workload('c', 3, at('r2'))]
    for (const loadBalancer of [
      { kind: 'random' },
      { kind: 'least-request' },
      { kind: 'maglev', tableSize: 65_537, keys },
    ] as const) {
      const given = { loadBalancer, locality, outliers: { ...outliers, maxEjectionPercent: 100 } }
      const { cluster, fail, host } = clusterOf(0, given, workload('me', 99, at('r1')))
      cluster.reset(service, all)
      const shareOf = (name: string) => {
        let count = 0
        for (let i = 0; i < 2_000; i++) {
          const hash = loadBalancer.kind === 'maglev' ? BigInt(i) * 7_919n : undefined
          if (cluster.choose({ hash })?.workload.name === name) count++
        }
        return Math.round(count / 20)
      }
      t.ok(Math.abs(shareOf('c') - 25) <= 3, `${loadBalancer.kind}: ${shareOf('c')} %`)
      host('a').active = 50
      t.ok(Math.abs(shareOf('c') - 25) <= 3, `${loadBalancer.kind}: whoever is busy in the other locality`)
      host('a').active = 0
      if (loadBalancer.kind === 'maglev') continue
      fail('a', 3)
      // 75 * 1.4 * 1/2 = 52.5 to 25
      t.ok(Math.abs(shareOf('c') - 32) <= 3, `${loadBalancer.kind}: ${shareOf('c')} % when half of it is ill`)
    }
  },
)

t.test('a retry that may leave the localities it has tried does so after every second try', async (t) => {
  const at = (region: string, zone = '') => ({ locality: { region, zone, subzone: '' } })
  const { cluster, host } = clusterOf(
    0,
    { outliers, locality: { kind: 'failover', regions: [] } },
    workload('me', 99, at('r1', 'z1')),
  )
  cluster.reset(service, [
    workload('near', 1, at('r1', 'z1')),
    workload('nearer-than-far', 2, at('r1', 'z2')),
    workload('far', 3, at('r2')),
  ])
  const next = (...names: string[]) => cluster.choose({ leaving: names.map(host) })?.workload.name
  t.equal(next('near'), 'near', 'after the first not yet')
  t.equal(next('near', 'near'), 'nearer-than-far')
  t.equal(next('near', 'near', 'nearer-than-far'), 'nearer-than-far')
  t.equal(next('near', 'near', 'nearer-than-far', 'nearer-than-far'), 'far')
  const everywhere = ['near', 'near', 'nearer-than-far', 'nearer-than-far', 'far', 'far']
  t.equal(next(...everywhere), 'near', 'and begins anew when there is nobody left')
  t.equal(cluster.choose()?.workload.name, 'near', 'no other request goes far')
})

t.test('who is found by a hash is always in the same level', async (t) => {
  const at = (region: string) => ({ locality: { region, zone: '', subzone: '' } })
  const loadBalancer = { kind: 'ring-hash', minimumRingSize: 64, keys: [{ kind: 'source-ip' }] } as const
  const given = { loadBalancer, outliers, locality: { kind: 'failover', regions: [] } } as const
  const { cluster, fail } = clusterOf(0, given, workload('me', 99, at('r1')))
  cluster.reset(service, [
    workload('near-1', 1, at('r1')),
    workload('near-2', 2, at('r1')),
    workload('far', 3, at('r2')),
  ])
  fail('near-1', 3) // the near ones get 70 % now
  const seen = new Set<string | undefined>()
  for (let user = 0n; user < 100n; user++) {
    const names = new Set<string | undefined>()
    for (let i = 0; i < 20; i++) names.add(cluster.choose({ hash: user })?.workload.name)
    t.equal(names.size, 1)
    for (const name of names) seen.add(name)
  }
  t.same([...seen].map(String).sort(), ['far', 'near-2'])
})

t.test('who may be chosen', async (t) => {
  const { cluster, names } = clusterOf(0, {})
  cluster.reset(service, [
    workload('well', 1),
    workload('ill', 2, { status: 1 }),
    workload('weightless', 3, { capacity: 0 }),
    workload('elsewhere', 4, { network: 'other' }),
    workload('nowhere', 5, { addresses: [] }),
  ])
  t.same(names(), ['well'])
  cluster.update(workload('well', 1).uid, undefined)
  t.equal(cluster.choose(), undefined)
})

t.test('a subset has the endpoints with its labels', async (t) => {
  const { cluster, names } = clusterOf(0, { labels: { version: 'v2' } })
  cluster.reset(service, [
    workload('one', 1, { canonicalRevision: 'v1' }),
    workload('two', 2, { canonicalRevision: 'v2' }),
  ])
  t.same(names(), ['two'])
  cluster.obey(policyOf({ labels: { tier: 'gold' } }))
  t.same(names(), ['none'], 'a label that nobody told us about is nobody’s')
})

t.test('a retry avoids those that failed', async (t) => {
  const { cluster, host } = clusterOf(3, {})
  let again = 0
  for (let i = 0; i < 300; i++)
    if (cluster.choose({ tried: new Set([host('h0')]) })?.workload.name === 'h0') again++
  t.ok(again < 10, `${again} of 300`)
  t.equal(
    cluster.choose({ tried: new Set(cluster.hosts()) })?.uid !== undefined,
    true,
    'unless there is nobody else',
  )
})

t.test('who fails at once has the least to do, and is avoided by retries all the same', async (t) => {
  const { cluster, host } = clusterOf(2, {})
  host('h1').active = 5
  for (let i = 0; i < 20; i++) {
    t.equal(cluster.choose()?.workload.name, 'h0', 'of two the one with less to do')
    t.equal(cluster.choose({ tried: new Set([host('h0')]) })?.workload.name, 'h1')
  }
  const ill = clusterOf(3, { outliers })
  ill.host('h1').active = 5
  ill.fail('h2', 3)
  for (let i = 0; i < 20; i++)
    t.equal(
      ill.cluster.choose({ tried: new Set([ill.host('h0')]) })?.workload.name,
      'h1',
      'not who is ejected',
    )
})

t.test('a new endpoint warms up', async (t) => {
  const warmup = { durationMs: 10_000, minimumPercent: 10, aggression: 1 }
  const { cluster, clock } = clusterOf(1, { warmup, loadBalancer: { kind: 'round-robin' } })
  clock.now += 20_000
  cluster.update(workload('new', 9).uid, workload('new', 9))
  const share = () => {
    let count = 0
    for (let i = 0; i < 1_100; i++) if (cluster.choose()?.workload.name === 'new') count++
    return count
  }
  t.ok(Math.abs(share() - 100) < 10, 'a tenth at first')
  clock.now += 5_000
  t.ok(Math.abs(share() - 367) < 20, 'half a turn half way')
  clock.now += 6_000
  t.ok(Math.abs(share() - 550) < 10, 'then as much as anybody')
})

const places = (region: string, zone: string, subzone: string) => ({ locality: { region, zone, subzone } })
t.test('closest first by region, zone and subzone, and who stands in for a region', async (t) => {
  const local = workload('me', 99, places('r1', 'z1', 's1'))
  const all = { outliers: { ...outliers, maxEjectionPercent: 100 } }
  const { cluster, names, fail } = clusterOf(
    0,
    { ...all, locality: { kind: 'failover', regions: [{ from: 'r1', to: 'r3' }] } },
    local,
  )
  cluster.reset(service, [
    workload('subzone', 1, places('r1', 'z1', 's1')),
    workload('zone', 2, places('r1', 'z1', 's2')),
    workload('region', 3, places('r1', 'z2', 's1')),
    workload('instead', 4, places('r3', 'z1', 's1')),
    workload('elsewhere', 5, places('r2', 'z1', 's1')),
  ])
  for (const nearest of ['subzone', 'zone', 'region', 'instead', 'elsewhere']) {
    t.same(names(), [nearest])
    fail(nearest, 3)
  }
})

t.test('where we are may be known late, or change', async (t) => {
  const policy = policyOf({ outliers, locality: { kind: 'failover', regions: [] } })
  const here: { local?: ReturnType<typeof workload> } = {}
  const parts = { local: () => here.local, network: '', random: Math.random, now: () => 1_000 }
  const cluster = new Cluster(service, policy, parts)
  cluster.reset(service, [
    workload('one', 1, places('r1', 'z', '')),
    workload('two', 2, places('r2', 'z', '')),
  ])
  const names = () => {
    const seen = new Set(Array.from({ length: 60 }, () => cluster.choose()?.workload.name))
    return [...seen].map(String).sort()
  }
  t.same(names(), ['one', 'two'], 'nobody knows yet')
  here.local = workload('me', 99, places('r1', 'z', ''))
  t.same(names(), ['one'])
  here.local = workload('me', 99, places('r2', 'z', ''))
  t.same(names(), ['two'])
})

t.test('closest first by labels, up to the first that differs', async (t) => {
  const rack = (name: string, n: number, labels: Record<string, string>) => ({
    ...workload(name, n, places('r1', 'z1', '')),
    labels: new Map(Object.entries(labels)),
  })
  const local = rack('me', 99, { hall: 'a', rack: '1' })
  const order = [{ key: 'topology.kubernetes.io/region' }, { key: 'hall' }, { key: 'rack', value: '7' }]
  const { cluster, names, fail } = clusterOf(
    0,
    {
      outliers: { ...outliers, maxEjectionPercent: 100 },
      locality: { kind: 'failover-labels', labels: order },
    },
    local,
  )
  cluster.reset(service, [
    rack('all', 1, { hall: 'a', rack: '7' }),
    rack('hall', 2, { hall: 'a', rack: '1' }),
    rack('region', 3, { hall: 'b', rack: '7' }),
    { ...rack('none', 4, { hall: 'a', rack: '7' }), ...places('r2', '', '') },
  ])
  for (const nearest of ['all', 'hall', 'region', 'none']) {
    t.same(names(), [nearest])
    fail(nearest, 3)
  }
})

const warmths: [minimumPercent: number, aggression: number, ageMs: number, percent: number][] = [
  [10, 1, 0, 10],
  [50, 1, 1_000, 50],
  [10, 1, 2_500, 25],
  [10, 2, 2_500, 50],
  [0, 1, 2_500, 25],
  [10, 1, 10_000, 100],
]
for (const [minimumPercent, aggression, ageMs, percent] of warmths)
  t.test(`warm-up from ${minimumPercent} % by ${aggression} after ${ageMs} of 10000 ms`, async (t) => {
    const { host } = clusterOf(1, {})
    const weigh = warming({ durationMs: 10_000, minimumPercent, aggression }, host('h0').since + ageMs)
    t.equal(Math.round(weigh(host('h0')) * 100), percent)
  })

const { LoadBalancing_Mode: Mode, LoadBalancing_Scope: Scope } = wire
type Preferring = (mode: wire.LoadBalancing_Mode, ...scopes: wire.LoadBalancing_Scope[]) => Service
const preferring: Preferring = (mode, ...routingPreference) =>
  parseService(
    serviceWire({
      name: 'web',
      ports: { 80: 8080 },
      loadBalancing: { mode, routingPreference, healthPolicy: 0 },
    }),
  )

t.test('as the service says, where no policy does', async (t) => {
  const given = { outliers: { ...outliers, maxEjectionPercent: 100 } }
  const { cluster, names, fail } = clusterOf(0, given, workload('me', 99, places('r1', 'z1', '')))
  const all = [
    workload('zone', 1, places('r1', 'z1', '')),
    workload('region', 2, places('r1', 'z2', '')),
    workload('elsewhere', 3, places('r2', 'z1', '')),
  ]
  cluster.reset(service, all)
  t.same(names(), ['elsewhere', 'region', 'zone'], 'nothing: all alike')
  cluster.reset(preferring(Mode.STRICT, Scope.REGION), all)
  t.same(names(), ['region', 'zone'], 'nobody else')
  cluster.reset(preferring(Mode.FAILOVER, Scope.REGION, Scope.ZONE), all)
  for (const nearest of ['zone', 'region', 'elsewhere']) {
    t.same(names(), [nearest])
    fail(nearest, 3)
  }
})
