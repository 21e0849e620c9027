import t from 'tap'
import { parseService, parseWorkload } from '#mesh'
import type { OutlierPolicy } from '#routes'
import { serviceWire, type WorkloadDraft, workloadWire } from '../../fakes/mesh.ts'
import { Cluster } from '../../../waypoint/upstream/cluster.ts'
import type { Outcome } from '../../../waypoint/upstream/index.ts'
import { defaultPolicy } from '../../../waypoint/upstream/default-policy.ts'
import { policyOf } from '../kit.ts'

const key = 'demo/web.demo.svc.cluster.local'
const service = parseService(serviceWire({ name: 'web', ports: { 80: 8080 } }))
const outliers: OutlierPolicy = {
  consecutive5xx: 3,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOriginFailures: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 50,
}

const answers = (...statuses: number[]): Outcome[] => statuses.map((status) => ({ kind: 'response', status }))
const grpc = (...statuses: number[]): Outcome[] =>
  statuses.map((grpcStatus) => ({ kind: 'response', status: 200, grpcStatus }))
const lost = (times: number): Outcome[] =>
  Array.from({ length: times }, () => ({ kind: 'local-failure' }) as const)
const connected: Outcome = { kind: 'connected' }

const workload = (name: string, n: number, draft: Partial<WorkloadDraft> = {}) =>
  parseWorkload(
    workloadWire({ name, addresses: [`10.0.0.${n}`], services: { [key]: { 80: 8080 } }, ...draft }),
  )

/** A cluster under a clock of the test. */
function clusterOf(
  count: number,
  given: Parameters<typeof policyOf>[0],
  local?: ReturnType<typeof workload>,
) {
  const clock = { now: 1_000 }
  let n = 0
  const cluster = new Cluster(service, policyOf(given), {
    local: () => local,
    network: '',
    random: () => (n = (n + 0.37) % 1),
    now: () => clock.now,
  })
  cluster.reset(
    service,
    Array.from({ length: count }, (_, i) => workload(`h${i}`, i + 1)),
  )
  const names = () => {
    const seen = new Set<string>()
    for (let i = 0; i < 60; i++) seen.add(cluster.choose()?.workload.name ?? 'none')
    return [...seen].map(String).sort()
  }
  const host = (name: string) => {
    const found = [...cluster.hosts()].find((one) => one.workload.name === name)
    if (!found) throw new Error(name)
    return found
  }
  const fail = (name: string, times: number, status = 500) => {
    for (let i = 0; i < times; i++) cluster.report(host(name), { kind: 'response', status })
  }
  return { cluster, clock, names, host, fail }
}

t.test('the third failure in a row ejects at once, a success in between starts anew', async (t) => {
  const { names, fail } = clusterOf(4, { outliers })
  fail('h0', 2)
  fail('h0', 1, 200)
  fail('h0', 2)
  t.same(names(), ['h0', 'h1', 'h2', 'h3'])
  fail('h0', 1)
  t.same(names(), ['h1', 'h2', 'h3'])
})

t.test('an ejection ends at the first sweep after its time, and the next one is longer', async (t) => {
  const { names, fail, clock, host } = clusterOf(4, { outliers })
  names() // the first sweep
  fail('h0', 3)
  clock.now += 29_999
  t.same(names(), ['h1', 'h2', 'h3'])
  clock.now += 10_001
  t.same(names(), ['h0', 'h1', 'h2', 'h3'], 'back')
  fail('h0', 3)
  t.equal(host('h0').health.ejectedUntil, clock.now + 60_000, 'twice as long')
  clock.now += 70_000
  names()
  clock.now += 10_000
  names()
  t.equal(host('h0').health.ejections, 1, 'a healthy interval lowers the count')
})

t.test('no more than half of them, but one always', async (t) => {
  const many = clusterOf(4, { outliers })
  for (const name of ['h0', 'h1', 'h2']) many.fail(name, 3)
  t.same(many.names(), ['h2', 'h3'])
  const single = clusterOf(1, { outliers: { ...outliers, maxEjectionPercent: 10 } })
  single.fail('h0', 3)
  t.same(single.names(), ['none'])
})

t.test('what counts', async (t) => {
  const gateway = { ...outliers, consecutive5xx: 0, consecutiveGatewayErrors: 2 }
  const one = clusterOf(2, { outliers: gateway })
  one.fail('h0', 5, 500)
  t.same(one.names(), ['h0', 'h1'], 'a plain 500 is no gateway error')
  one.fail('h0', 2, 503)
  t.same(one.names(), ['h1'])
  const local = clusterOf(2, { outliers })
  for (let i = 0; i < 3; i++) local.cluster.report(local.host('h0'), { kind: 'local-failure' })
  t.same(local.names(), ['h1'], 'what cannot be reached is a 5xx')
  const split = clusterOf(2, {
    outliers: { ...outliers, splitLocalOrigin: true, consecutiveLocalOriginFailures: 5 },
  })
  for (let i = 0; i < 4; i++) split.cluster.report(split.host('h0'), { kind: 'local-failure' })
  t.same(split.names(), ['h0', 'h1'], 'unless it is counted apart')
  split.cluster.report(split.host('h0'), { kind: 'local-failure' })
  t.same(split.names(), ['h1'])
})

const seen: [title: string, given: Partial<OutlierPolicy>, outcomes: Outcome[], ejected: boolean][] = [
  ['gRPC: unavailable three times', {}, grpc(14, 14, 14), true],
  ['gRPC: the caller’s own mistakes', {}, grpc(3, 5, 7), false],
  [
    'gRPC: unavailable is a gateway error',
    { consecutive5xx: 0, consecutiveGatewayErrors: 2 },
    grpc(14, 14),
    true,
  ],
  ['gRPC: internal is none', { consecutive5xx: 0, consecutiveGatewayErrors: 2 }, grpc(13, 13), false],
  ['statuses that are named count', { statuses: [429] }, answers(429, 429, 429), true],
  ['others do not', { statuses: [429] }, answers(500, 500, 500), false],
  [
    'nor as gateway errors',
    { statuses: [503], consecutive5xx: 0, consecutiveGatewayErrors: 1 },
    answers(503),
    false,
  ],
  ['what cannot be reached counts all the same', { statuses: [429] }, lost(3), true],
  ['a connection that succeeds starts anew', {}, [...lost(2), connected, ...lost(2)], false],
  [
    'also where local failures are apart',
    { splitLocalOrigin: true, consecutiveLocalOriginFailures: 3 },
    [...lost(2), connected, ...lost(2)],
    false,
  ],
  [
    'where they are apart a connection says nothing about answers',
    { splitLocalOrigin: true },
    [...answers(500, 500), connected, ...answers(500)],
    true,
  ],
  ['an answer does', { splitLocalOrigin: true }, answers(500, 500, 404, 500), false],
  ['a number of 0 is off', { consecutive5xx: 0 }, answers(500, 500, 500, 500, 500, 500), false],
]
for (const [title, given, outcomes, ejected] of seen)
  t.test(`outcomes: ${title}`, async (t) => {
    const { cluster, host, names } = clusterOf(2, { outliers: { ...outliers, ...given } })
    for (const outcome of outcomes) cluster.report(host('h0'), outcome)
    t.same(names(), ejected ? ['h1'] : ['h0', 'h1'])
  })

t.test('how many may go', async (t) => {
  const cases: [hosts: number, percent: number, gone: number][] = [
    [1, 10, 1],
    [5, 10, 1],
    [10, 10, 1],
    [11, 10, 2],
    [3, 100, 3],
    [4, 50, 2],
    [3, 0, 0],
  ]
  for (const [count, maxEjectionPercent, gone] of cases) {
    const { fail, cluster } = clusterOf(count, { outliers: { ...outliers, maxEjectionPercent } })
    for (let i = 0; i < count; i++) fail(`h${i}`, 3)
    const ejected = [...cluster.hosts()].filter(({ health }) => health.ejectedUntil > 0).length
    t.equal(ejected, gone, `${maxEjectionPercent} % of ${count}`)
  }
})

t.test('ejections get longer up to a bound, and are forgiven one by one', async (t) => {
  const { names, fail, clock, host } = clusterOf(2, { outliers: { ...outliers, maxEjectionMs: 70_000 } })
  names()
  const times: number[] = []
  for (let i = 0; i < 5; i++) {
    fail('h0', 3)
    times.push(host('h0').health.ejectedUntil - clock.now)
    clock.now = host('h0').health.ejectedUntil + 10_000
    names() // back; this sweep lowers nothing yet
  }
  t.same(times, [30_000, 60_000, 70_000, 70_000, 70_000])
  clock.now += 10_000
  names()
  t.equal(host('h0').health.ejections, 2)
})

t.test('in panic health is ignored', async (t) => {
  const { names, fail } = clusterOf(2, {
    outliers: { ...outliers, maxEjectionPercent: 100 },
    panicPercent: 60,
  })
  fail('h0', 3)
  t.same(names(), ['h0', 'h1'])
})

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

t.test('what holds without a policy', async (t) => {
  t.match(defaultPolicy(key, 80), { loadBalancer: { kind: 'least-request' }, panicPercent: 0 })
})
