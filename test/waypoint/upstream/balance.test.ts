import t from 'tap'
import { hashOf } from '../../../waypoint/upstream/hash-of.ts'
import { maglevTable, ring } from '../../../waypoint/upstream/hash-ring.ts'
import { type Host, newHost } from '../../../waypoint/upstream/host.ts'
import { pickerOf } from '../../../waypoint/upstream/picker.ts'
import { levelFor, loadOf, loadsOf, loadWithout } from '../../../waypoint/upstream/priorities.ts'
import { Schedule } from '../../../waypoint/upstream/schedule.ts'
import { xxhash64 } from '../../../waypoint/upstream/xxhash64.ts'
import { parseWorkload } from '#mesh'
import type { LoadBalancer } from '#routes'
import { workloadWire } from '../../fakes/mesh.ts'

const hostOf = (name: string, n: number, capacity = 1): Host =>
  newHost(parseWorkload(workloadWire({ name, addresses: [`10.0.0.${n}`], capacity })), 80, 0)
const hosts = (count: number) => Array.from({ length: count }, (_, i) => hostOf(`h${i}`, i + 1))
const same = () => 1

/** The same draws in every run. */
function dice(seed = 1): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return state / 0x80000000
  }
}

const tally = (picks: number, pick: () => Host | undefined) => {
  const counts = new Map<string, number>()
  for (let i = 0; i < picks; i++) {
    const name = pick()?.workload.name ?? 'none'
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return counts
}

t.test('xxHash64 gives the values of its authors', async (t) => {
  t.equal(xxhash64(''), 0xef46db3751d8e999n)
  t.equal(xxhash64('a'), 0xd24ec4f1a98c6e5bn)
  t.equal(xxhash64('abc'), 0x44bc2cf5ad770999n)
  t.equal(xxhash64('Nobody inspects the spammish repetition'), 0xfbcea83c8a378bf1n)
})

t.test('turns come as often as weights say', async (t) => {
  const schedule = new Schedule(['a', 'b', 'c'], (item) => ({ a: 1, b: 2, c: 5 })[item] ?? 0, dice())
  const counts = { a: 0, b: 0, c: 0 }
  for (let i = 0; i < 800; i++) counts[schedule.next() as 'a' | 'b' | 'c']++
  for (const [name, expected] of [
    ['a', 100],
    ['b', 200],
    ['c', 500],
  ] as const)
    t.ok(Math.abs(counts[name] - expected) <= 2, `${name}: ${counts[name]}`)
})

t.test(
  'with many the shares are as exact, and among equals everybody has a turn before anybody has two',
  async (t) => {
    const weights = [8, 1, 5, 3, 7, 2, 6, 4]
    const schedule = new Schedule(weights, (weight) => weight, dice())
    const turns = new Map<number, number>()
    for (let i = 0; i < 3_600; i++) {
      const weight = schedule.next() ?? 0
      turns.set(weight, (turns.get(weight) ?? 0) + 1)
    }
    for (const [weight, count] of turns) t.ok(Math.abs(count - 100 * weight) <= 2, `${weight}: ${count}`)
    const equal = new Schedule(['a', 'b', 'c', 'd', 'e'], () => 1, dice())
    for (let round = 0; round < 20; round++)
      t.equal(new Set(Array.from({ length: 5 }, () => equal.next())).size, 5)
  },
)

t.test('round robin leaves nobody out', async (t) => {
  const pick = pickerOf({ kind: 'round-robin' }, hosts(4), same, dice())
  t.same([...tally(40, () => pick(undefined)).values()], [10, 10, 10, 10])
})

t.test('of two the one with less to do', async (t) => {
  const all = hosts(3)
  const [busy] = all
  if (!busy) throw new Error('no host')
  busy.active = 100
  const pick = pickerOf({ kind: 'least-request' }, all, same, dice())
  t.notOk(tally(200, () => pick(undefined)).has('h0'), 'who is busy is never the better of two')
})

t.test('both of the two are anybody', async (t) => {
  for (const idle of [0, 1, 2]) {
    const all = hosts(3)
    for (const [i, host] of all.entries()) if (i !== idle) host.active = 1
    const pick = pickerOf({ kind: 'least-request' }, all, same, dice())
    const count = tally(3_000, () => pick(undefined)).get(`h${idle}`) ?? 0
    t.ok(Math.abs(count - 2_000) < 150, `h${idle} is one of the two in 2 of 3 draws: ${count}`)
  }
})

t.test('with unequal weights turns get rarer the more there is to do', async (t) => {
  const all = [hostOf('light', 1, 1), hostOf('heavy', 2, 4)]
  const pick = pickerOf({ kind: 'least-request' }, all, (host) => host.workload.capacity, dice())
  const idle = tally(500, () => pick(undefined))
  t.ok(Math.abs((idle.get('heavy') ?? 0) - 400) <= 4)
  const [, heavy] = all
  if (heavy) heavy.active = 3
  const loaded = tally(500, () => pick(undefined))
  t.ok(Math.abs((loaded.get('heavy') ?? 0) - 250) <= 4, 'as heavy as the other by then')
})

t.test('a hash stays with its host, and when one goes only what it had moves', async (t) => {
  for (const [name, make] of [
    ['ring', (all: Host[]) => ring(all, same, 1024)],
    ['maglev', (all: Host[]) => maglevTable(all, same, 65_537)],
  ] as const) {
    const all = hosts(10)
    const [before, after] = [make(all), make(all.slice(1))]
    const shuffled = make([...all].reverse())
    const counts = new Map<string, number>()
    let moved = 0
    for (let i = 0; i < 5_000; i++) {
      const hash = xxhash64(`user-${i}`)
      const first = before(hash)?.workload.name ?? ''
      counts.set(first, (counts.get(first) ?? 0) + 1)
      if (shuffled(hash)?.workload.name !== first) t.fail(`${name}: the order of endpoints matters`)
      if (first !== 'h0' && after(hash)?.workload.name !== first) moved++
    }
    t.equal(counts.size, 10, `${name}: everybody has some`)
    for (const [host, count] of counts)
      t.ok(count > 250 && count < 900, `${name}: ${host} has ${count} of 5000`)
    t.ok(moved < (name === 'ring' ? 500 : 250), `${name}: ${moved} of others moved`)
  }
})

const hashing: readonly LoadBalancer[] = [
  { kind: 'ring-hash', minimumRingSize: 1_024, keys: [] },
  { kind: 'maglev', tableSize: 65_537, keys: [] },
]
for (const balancer of hashing)
  t.test(
    `${balancer.kind}: who has a hash stays, who has none is anybody's; shares are as weights say`,
    async (t) => {
      const pick = pickerOf(balancer, hosts(3), same, dice())
      for (const user of ['ann', 'bob', 'eve']) t.equal(tally(50, () => pick(xxhash64(user))).size, 1, user)
      t.equal(tally(200, () => pick(undefined)).size, 3)
      const unequal = [hostOf('light', 1, 1), hostOf('heavy', 2, 4)]
      const weighted = pickerOf(balancer, unequal, (host) => host.workload.capacity, dice())
      let user = 0
      const heavy = tally(5_000, () => weighted(xxhash64(`user-${user++}`))).get('heavy') ?? 0
      t.ok(Math.abs(heavy - 4_000) < 400, `${heavy} of 5000`)
    },
  )

t.test('what was asked for is a service, so PASSTHROUGH is anybody of it', async (t) => {
  const pick = pickerOf({ kind: 'passthrough' }, hosts(3), same, dice())
  t.equal(tally(200, () => pick(undefined)).size, 3)
})

t.test('a ring is as large as it must be: the larger, the more even', async (t) => {
  const spread = (size: number) => {
    const find = ring(hosts(10), same, size)
    const counts = new Map<string, number>()
    for (let i = 0; i < 5_000; i++) {
      const name = find(xxhash64(`user-${i}`))?.workload.name ?? ''
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    return Math.max(...counts.values()) / Math.min(...counts.values())
  }
  const [small, large] = [spread(20), spread(20_000)]
  t.ok(large < 1.4 && small > large, `${small} and ${large} times as many for one as for another`)
})

t.test(
  'rings and tables that are asked to be huge, or by weights far apart, take no time to speak of',
  async (t) => {
    const apart = ({ uid }: Host) => (uid.includes('h0') ? 2 ** 32 - 1 : 1)
    const { user } = process.cpuUsage()
    ring(hosts(2), same, 8_388_608)
    ring(hosts(2), apart, 1_024)
    maglevTable(hosts(2), same, 5_000_011)
    maglevTable(hosts(200), apart, 65_537)
    const tookMs = (process.cpuUsage().user - user) / 1_000
    t.ok(tookMs < 5_000, `${tookMs} ms, in which nobody was served; it was minutes`)
  },
)

t.test('a table has as many places as it says', async (t) => {
  const find = maglevTable(hosts(3), same, 11)
  const places = Array.from({ length: 11 }, (_, i) => find(BigInt(i))?.workload.name)
  t.same(
    places,
    Array.from({ length: 11 }, (_, i) => find(BigInt(i + 11 * 1_000))?.workload.name),
  )
  const counts = ['h0', 'h1', 'h2'].map((name) => places.filter((one) => one === name).length)
  t.same(
    counts.sort((x, y) => x - y),
    [3, 4, 4],
  )
})

t.test('what is hashed', async (t) => {
  const made: string[] = []
  const of = {
    header: (name: string) => (name === 'x-user' ? 'me' : undefined),
    query: () => undefined,
    cookie: () => undefined,
    sourceIp: '10.0.0.1',
    makeCookie: ({ name }: { name: string }) => {
      made.push(name)
      return 'fresh'
    },
  }
  const hash = (...keys: Keys) => hashOf({ kind: 'ring-hash', minimumRingSize: 1024, keys }, of)
  t.equal(hash({ kind: 'header', name: 'x-user' }), xxhash64('me'))
  t.equal(hash({ kind: 'header', name: 'x-other' }), undefined, 'nothing there: at random')
  t.equal(hash({ kind: 'source-ip' }), xxhash64('10.0.0.1'))
  t.equal(hash({ kind: 'cookie', name: 'c' }), undefined)
  t.equal(hash({ kind: 'cookie', name: 'c', ttlMs: 0 }), xxhash64('fresh'))
  t.same(made, ['c'])
  t.not(
    hash({ kind: 'header', name: 'x-user' }, { kind: 'source-ip' }),
    xxhash64('me'),
    'several are combined',
  )
  t.equal(hashOf({ kind: 'random' }, of), undefined)
})
type Keys = Extract<LoadBalancer, { kind: 'ring-hash' }>['keys'][number][]

const loads: [title: string, levels: [healthy: number, total: number][], load: number[] | undefined][] = [
  [
    'all well',
    [
      [4, 4],
      [4, 4],
    ],
    [100, 0],
  ],
  [
    'a little ill',
    [
      [8, 10],
      [4, 4],
    ],
    [100, 0],
  ],
  [
    'half ill',
    [
      [5, 10],
      [10, 10],
    ],
    [70, 30],
  ],
  [
    'gone',
    [
      [0, 10],
      [10, 10],
    ],
    [0, 100],
  ],
  [
    'both ill',
    [
      [3, 10],
      [3, 10],
    ],
    [50, 50],
  ],
  [
    'what rounding leaves goes to the first that takes any',
    [
      [0, 5],
      [1, 5],
      [1, 5],
      [1, 5],
    ],
    [0, 34, 33, 33],
  ],
  [
    'nobody',
    [
      [0, 2],
      [0, 2],
    ],
    undefined,
  ],
  ['none at all', [], undefined],
]
for (const [title, levels, load] of loads)
  t.test(`load of levels: ${title}`, async (t) => {
    t.same(loadOf(levels.map(([healthy, total]) => ({ healthy, total }))), load)
  })

t.test('a level for a draw', async (t) => {
  t.same(
    [0, 0.69, 0.71, 0.999].map((draw) => levelFor([70, 30], draw)),
    [0, 0, 1, 1],
  )
  t.equal(levelFor([0, 100], 0), 1)
})

const panics: [title: string, levels: [healthy: number, total: number][], threshold: number, told: string][] =
  [
    ['fewer than the threshold are well', [[4, 10]], 50, '100! '],
    ['as many as the threshold', [[5, 10]], 50, '100 '],
    ['nobody, but a threshold of 0', [[0, 10]], 0, 'nobody'],
    ['nobody, and a threshold', [[0, 10]], 50, '100! '],
    [
      'the next level can take the rest',
      [
        [4, 10],
        [10, 10],
      ],
      50,
      '56 44 ',
    ],
    [
      'all of them too ill: by their numbers',
      [
        [1, 10],
        [1, 30],
      ],
      50,
      '25! 75! ',
    ],
    [
      'one of them too ill, together not enough',
      [
        [1, 10],
        [3, 6],
      ],
      50,
      '17! 83 ',
    ],
  ]
for (const [title, levels, threshold, told] of panics)
  t.test(`panic: ${title}`, async (t) => {
    const loads = loadsOf(
      levels.map(([healthy, total]) => ({ healthy, total })),
      threshold,
    )
    const text = loads?.load.map((share, i) => `${share}${loads.panics[i] ? '!' : ''} `).join('')
    t.equal(text ?? 'nobody', told)
  })

t.test('levels that are left out get nothing as long as others have anybody', async (t) => {
  const [well, ill] = [
    { healthy: 4, total: 4 },
    { healthy: 0, total: 4 },
  ]
  t.same(loadWithout([well, well, well], new Set([0])), [0, 100, 0])
  t.same(loadWithout([well, ill, well], new Set([0])), [0, 0, 100])
  t.same(loadWithout([well, ill], new Set([0])), [100, 0], 'there is nowhere else')
})
