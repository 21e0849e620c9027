import fc from 'fast-check'
import t from 'tap'
import {
  type Collection,
  derive,
  deriveMany,
  type Explanation,
  explainRow,
  type Fetch,
  join,
  Table,
} from '#kube'
import '../../fakes/seed.ts'

type Pod = { name: string; labels: string; node: string }
type Service = { name: string; selects: string }
type Workload = { pod: string; services: string[]; zone: string | undefined }

const upsert = <T>(table: Table<T>, key: string, row: T | undefined) =>
  table.apply([{ key, old: table.get(key), row }])

const workload =
  (services: Collection<Service>, nodes: Collection<string>) =>
  (pod: Pod, fetch: Fetch): Workload => ({
    pod: pod.name,
    services: fetch(services, (s) => s.selects === pod.labels).map((s) => s.name),
    zone: fetch.one(nodes, pod.node),
  })

const world = () => {
  const pods = new Table<Pod>('pods')
  const services = new Table<Service>('services')
  const nodes = new Table<string>('nodes')
  let computed = 0
  const transform = workload(services.collection, nodes.collection)
  const workloads = derive('workloads', pods.collection, (pod, fetch) => {
    computed++
    return transform(pod, fetch)
  })
  const seen: string[] = []
  workloads.subscribe((changes) => {
    for (const { key, old, row } of changes)
      seen.push(`${old === undefined ? 'add' : row === undefined ? 'remove' : 'update'} ${key}`)
  })
  return {
    pods,
    services,
    nodes,
    workloads,
    seen,
    computed: () => computed,
    reset: () => ((computed = 0), seen.splice(0)),
  }
}

t.test('a row follows what it fetched, and nothing else is computed again', async (t) => {
  const w = world()
  upsert(w.pods, 'a', { name: 'a', labels: 'shop', node: 'n1' })
  upsert(w.pods, 'b', { name: 'b', labels: 'bank', node: 'n2' })
  w.reset()
  upsert(w.services, 'shop', { name: 'shop', selects: 'shop' })
  t.strictSame(w.seen, ['update a'])
  t.equal(w.computed(), 1, 'b was not computed')
  t.strictSame(w.workloads.get('a')?.services, ['shop'])
  w.reset()
  upsert(w.nodes, 'n2', 'zone-2')
  t.strictSame(w.seen, ['update b'])
  t.equal(w.computed(), 1)
})

t.test('a change that makes no difference is told to nobody', async (t) => {
  const w = world()
  upsert(w.pods, 'a', { name: 'a', labels: 'shop', node: 'n1' })
  upsert(w.services, 'shop', { name: 'shop', selects: 'shop' })
  w.reset()
  upsert(w.services, 'shop', { name: 'shop', selects: 'shop' })
  t.equal(w.computed(), 1, 'it is computed, for its answer may differ')
  t.strictSame(w.seen, [])
})

t.test('a removed input removes the row and what it had fetched is forgotten', async (t) => {
  const w = world()
  upsert(w.pods, 'a', { name: 'a', labels: 'shop', node: 'n1' })
  upsert(w.pods, 'a', undefined)
  w.reset()
  upsert(w.nodes, 'n1', 'zone-1')
  t.equal(w.computed(), 0)
  t.equal(w.workloads.size(), 0)
})

t.test('a transform that throws leaves its last good row, and the others are computed', async (t) => {
  const input = new Table<number>('numbers')
  const halves = derive('halves', input.collection, (n) => {
    if (n % 2) throw new Error('odd')
    return n / 2
  })
  upsert(input, 'a', 4)
  input.apply([
    { key: 'a', old: 4, row: 5 },
    { key: 'b', old: undefined, row: 6 },
  ])
  t.equal(halves.get('a'), 2)
  t.equal(halves.get('b'), 3)
})

t.test('a row that moves from one input to another in one batch is not lost', async (t) => {
  for (const order of [
    ['a', 'b'],
    ['b', 'a'],
  ]) {
    const input = new Table<readonly string[]>('lists')
    const flat = deriveMany('flat', input.collection, (names) => names.map((name) => ({ name })), {
      keyOf: ({ name }) => name,
    })
    upsert(input, 'a', ['x', 'y'])
    const next: Record<string, readonly string[]> = { a: ['y'], b: ['x'] }
    input.apply(order.map((key) => ({ key, old: input.get(key), row: next[key] })))
    t.strictSame(
      flat.list().map(({ name }) => name),
      ['x', 'y'],
      order.join(),
    )
  }
})

t.test('an index answers with the rows as they are when a listener hears of them', async (t) => {
  const pods = new Table<Pod>('pods')
  const byNode = pods.collection.indexBy(({ node }) => [node])
  const onNode = derive('onNode', pods.collection, (pod, fetch) => fetch.by(byNode, pod.node).length)
  upsert(pods, 'a', { name: 'a', labels: '', node: 'n1' })
  upsert(pods, 'b', { name: 'b', labels: '', node: 'n1' })
  t.strictSame(onNode.list(), [2, 2])
  upsert(pods, 'b', { name: 'b', labels: '', node: 'n2' })
  t.strictSame(onNode.list(), [1, 1])
  t.strictSame(
    byNode.lookup('n2').map(({ name }) => name),
    ['b'],
  )
})

t.test(
  'of two collections with the same key the earlier is seen, until it has the row no more',
  async (t) => {
    const first = new Table<string>('first')
    const second = new Table<string>('second')
    const both = join('both', [first.collection, second.collection])
    upsert(second, 'k', 'second')
    upsert(first, 'k', 'first')
    t.equal(both.get('k'), 'first')
    upsert(first, 'k', undefined)
    t.equal(both.get('k'), 'second')
    upsert(second, 'k', undefined)
    t.equal(both.size(), 0)
  },
)

t.test('a derived collection is synced once its input and all that it fetched from are', async (t) => {
  const w = world()
  w.pods.apply([{ key: 'a', old: undefined, row: { name: 'a', labels: '', node: '' } }])
  w.pods.markSynced()
  await w.pods.collection.synced
  await new Promise(setImmediate)
  t.equal(w.workloads.isSynced(), false)
  w.services.markSynced()
  w.nodes.markSynced()
  await w.workloads.synced
  t.equal(w.workloads.isSynced(), true)
})

t.test('any interleaving of events ends in what a fresh computation gives', async () => {
  const letter = fc.constantFrom('a', 'b', 'c')
  const event = fc.oneof(
    fc.record({ at: fc.constant('pod'), key: letter, labels: letter, node: letter, gone: fc.boolean() }),
    fc.record({ at: fc.constant('service'), key: letter, labels: letter, node: letter, gone: fc.boolean() }),
    fc.record({ at: fc.constant('node'), key: letter, labels: letter, node: letter, gone: fc.boolean() }),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const w = world()
      const mirror = new Map<string, Workload>()
      w.workloads.subscribe((changes) => {
        for (const { key, row } of changes)
          void (row === undefined ? mirror.delete(key) : mirror.set(key, row))
      })
      for (const { at, key, labels, node, gone } of events) {
        if (at === 'pod') upsert(w.pods, key, gone ? undefined : { name: key, labels, node })
        else if (at === 'service') upsert(w.services, key, gone ? undefined : { name: key, selects: labels })
        else upsert(w.nodes, key, gone ? undefined : labels)
      }
      const fresh = derive('fresh', w.pods.collection, workload(w.services.collection, w.nodes.collection))
      const rows = (list: Iterable<Workload>) =>
        JSON.stringify([...list].sort((a, b) => (a.pod < b.pod ? -1 : 1)))
      return rows(fresh.list()) === rows(w.workloads.list()) && rows(mirror.values()) === rows(fresh.list())
    }),
    { numRuns: 300 },
  )
})

t.test('a row can be traced to all that it came from, also to what was looked for in vain', async (t) => {
  const pods = new Table<Pod>('pods')
  const nodes = new Table<string>('nodes')
  const byNode = pods.collection.indexBy(({ node }) => [node])
  type Local = Readonly<{ zone: string | undefined; beside: number; all: number }>
  const local = derive(
    'local',
    pods.collection,
    ({ node }, fetch): Local => ({
      zone: fetch.one(nodes.collection, node),
      beside: fetch.by(byNode, node).length,
      all: fetch(pods.collection).length,
    }),
  )
  const joined = join('joined', [new Table<Local>('none').collection, local])
  upsert(pods, 'a', { name: 'a', labels: '', node: 'n1' })
  upsert(pods, 'b', { name: 'b', labels: '', node: 'n1' })
  const text = ({ how, collection, rows }: Explanation['from'][number]) =>
    `${how} ${collection} ${rows.map(({ key, exists }) => `${key}${exists ? '' : '?'}`).join()}`
  const [of, ...rest] = explainRow(joined, 'a').from
  t.strictSame([of && text(of), rest.length], ['input local a', 0])
  t.strictSame(
    of?.rows[0]?.from.map(text),
    ['input pods a', 'key nodes n1?', 'index pods a,b', 'scan pods '],
    'the answers of each question',
  )
  t.strictSame(of?.rows[0]?.from[0]?.rows[0]?.from, [], 'what comes from outside has no origin')
  upsert(nodes, 'n1', 'z')
  t.ok(explainRow(local, 'a').from[1]?.rows[0]?.exists)
  t.match(explainRow(local, 'nobody'), { exists: false, from: [] })
})
