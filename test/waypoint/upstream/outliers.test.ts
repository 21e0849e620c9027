import t from 'tap'
import type { OutlierPolicy } from '#routes'
import type { Outcome } from '../../../waypoint/upstream/index.ts'
import { defaultPolicy } from '../../../waypoint/upstream/default-policy.ts'
import { policyOf } from '../kit.ts'
import { answers, clusterOf, connected, grpc, key, lost, outliers, service, workload } from './cluster-kit.ts'

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
  clock.now += 1
  t.same(names(), ['h0', 'h1', 'h2', 'h3'], 'back')
  fail('h0', 3)
  t.equal(host('h0').health.ejectedUntil, clock.now + 60_000, 'twice as long')
  clock.now += 60_000
  t.same(names(), ['h0', 'h1', 'h2', 'h3'], 'back')
  t.equal(host('h0').health.ejections, 2)
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

t.test('how many of a subset may go is a matter of the subset', async (t) => {
  const { cluster, host, names, fail } = clusterOf(0, {
    labels: { version: 'v2' },
    outliers: { ...outliers, maxEjectionPercent: 10 },
  })
  const of = (canonicalRevision: string) => (n: number) =>
    workload(`${canonicalRevision}-${n}`, n, { canonicalRevision })
  cluster.reset(service, [...Array.from({ length: 18 }, (_, i) => of('v1')(i + 3)), of('v2')(1), of('v2')(2)])
  fail('v2-1', 3)
  fail('v2-2', 3)
  t.same(names(), ['v2-2'], 'one of two is more than a tenth')
  t.equal(host('v2-2').health.ejectedUntil, 0)
})

t.test('ejections get longer up to a bound, and are forgiven one by one', async (t) => {
  const { names, fail, clock, host } = clusterOf(2, { outliers: { ...outliers, maxEjectionMs: 70_000 } })
  names()
  const times: number[] = []
  for (let i = 0; i < 5; i++) {
    fail('h0', 3)
    times.push(host('h0').health.ejectedUntil - clock.now)
    clock.now = host('h0').health.ejectedUntil
    names() // back; this sweep lowers nothing yet
  }
  t.same(times, [30_000, 60_000, 70_000, 70_000, 70_000])
  clock.now += 10_000
  names()
  t.equal(host('h0').health.ejections, 2)
})

t.test('intervals end also while nobody asks', async (t) => {
  const { names, fail, clock, host } = clusterOf(2, { outliers })
  names()
  for (const until of [30_000, 60_000]) {
    fail('h0', 3)
    clock.now += until
    t.same(names(), ['h0', 'h1'])
  }
  t.equal(host('h0').health.ejections, 2)
  clock.now += 3_600_000
  names()
  t.equal(host('h0').health.ejections, 0, 'an hour without a failure')
  fail('h0', 3)
  // 30 s of it out, 20 s of it back.
  clock.now += 50_000
  names()
  t.equal(host('h0').health.ejections, 0)
  clock.now += 5_000
  fail('h0', 3)
  t.equal(host('h0').health.ejectedUntil - clock.now, 30_000)
  t.same(names(), ['h1'])
})

t.test('what fails while a host is out is not held against it later', async (t) => {
  const { names, fail, clock } = clusterOf(2, { outliers })
  names()
  fail('h0', 3)
  fail('h0', 7)
  clock.now += 30_000
  t.same(names(), ['h0', 'h1'])
  fail('h0', 2)
  t.same(names(), ['h0', 'h1'], 'two more are not three')
  fail('h0', 1)
  t.same(names(), ['h1'])
})

t.test('who may not go now does not go for one failure later', async (t) => {
  const { names, fail, clock } = clusterOf(2, { outliers })
  names()
  fail('h0', 3)
  fail('h1', 3)
  t.same(names(), ['h1'], 'half of them are out')
  clock.now += 30_000
  t.same(names(), ['h0', 'h1'])
  fail('h1', 2)
  t.same(names(), ['h0', 'h1'], 'two more are not three')
  fail('h1', 1)
  t.same(names(), ['h0'])
})

t.test('other rules begin anew, the same ones told again do not', async (t) => {
  const { names, fail, cluster } = clusterOf(2, { outliers })
  fail('h0', 3)
  t.same(names(), ['h1'])
  cluster.obey(policyOf({ outliers: { ...outliers } }))
  t.same(names(), ['h1'], 'still out')
  cluster.obey(policyOf({ outliers: { ...outliers, consecutive5xx: 5 } }))
  t.same(names(), ['h0', 'h1'], 'nothing is held against it')
})

t.test('two services whose rules lead here tell the same, each in its own words: turns go on', async (t) => {
  const given = { loadBalancer: { kind: 'round-robin' }, outliers } as const
  const { cluster } = clusterOf(4, given)
  const counts = new Map<string, number>()
  for (let n = 0; n < 40; n++) {
    // A GRPCRoute of one of them says what is spoken.
    cluster.obey(structuredClone(policyOf({ ...given, http: n % 3 === 0 ? 'http2' : 'client' })))
    const name = cluster.choose()?.workload.name ?? 'none'
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  t.same([...counts.values()], [10, 10, 10, 10])
  const kept = cluster.policy
  cluster.obey(structuredClone(kept))
  t.equal(cluster.policy, kept)
})

t.test('in panic health is ignored', async (t) => {
  const { names, fail } = clusterOf(2, {
    outliers: { ...outliers, maxEjectionPercent: 100 },
    panicPercent: 60,
  })
  fail('h0', 3)
  t.same(names(), ['h0', 'h1'])
})

t.test('a budget of retries may look at the last while', async (t) => {
  const retryBudget = { percent: 20, minConcurrency: 0, intervalMs: 1_000 }
  const { cluster, clock } = clusterOf(1, { retryBudget })
  const ends = (count: number) => {
    for (let i = 0; i < count; i++) {
      cluster.began()
      cluster.requests--
    }
  }
  ends(10)
  t.equal(cluster.measure().requests, 10, 'though nothing is under way')
  clock.now += 500
  ends(5)
  t.equal(cluster.measure().requests, 15)
  clock.now += 600
  t.equal(cluster.measure().requests, 5)
  clock.now += 10_000
  t.equal(cluster.measure().requests, 0)
  cluster.obey(policyOf({ retryBudget: { ...retryBudget, intervalMs: 0 } }))
  ends(10)
  t.equal(cluster.measure().requests, 0, 'or only at what is under way')
})

t.test('what holds without a policy', async (t) => {
  t.match(defaultPolicy(key, 80), { loadBalancer: { kind: 'least-request' }, panicPercent: 0 })
})
