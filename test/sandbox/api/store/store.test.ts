import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { EventLog } from '../../../../sandbox/api/store/event-log.ts'
import { openDatabase, Store, type StoreEvent } from '../../../../sandbox/api/store/index.ts'

const object = (name: string, n = 0, namespace = 'ns') => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace },
  data: { n: String(n) },
})
const memory = (capacity?: number) => new Store(openDatabase(':memory:'), capacity)

t.test('every change of whatever resource gets the next global version', async (t) => {
  using store = memory()
  const first = store.save('configmaps', object('a'))
  const second = store.save('secrets', object('b'))
  const gone = store.remove('configmaps', first)
  const versions = [first, second, gone].map((o) => Number(o.metadata.resourceVersion))
  t.same(versions, [versions[0], (versions[0] ?? 0) + 1, (versions[0] ?? 0) + 2])
  t.equal(store.version, versions[2])
  t.equal(store.get('configmaps', 'ns', 'a'), undefined)
})

t.test('lists are sorted and can be limited to a namespace', async (t) => {
  using store = memory()
  for (const [name, namespace] of [
    ['b', 'y'],
    ['a', 'y'],
    ['c', 'x'],
  ] as const)
    store.save('pods', object(name, 0, namespace))
  t.same(
    store.list('pods').map((o) => o.metadata.name),
    ['c', 'a', 'b'],
  )
  t.same(
    store.list('pods', 'y').map((o) => o.metadata.name),
    ['a', 'b'],
  )
  t.same(store.list('nothing'), [])
})

t.test('stored objects cannot be edited', async (t) => {
  using store = memory()
  const saved = store.save('pods', object('a'))
  t.throws(() => Object.assign(saved.metadata, { name: 'z' }), TypeError)
})

t.test('changes are told in order even when a listener makes another one', async (t) => {
  using store = memory()
  const seen: number[] = []
  store.subscribe(({ object: { metadata } }) => {
    if (metadata.name === 'a') store.save('pods', object('b'))
  })
  store.subscribe(({ version }) => seen.push(version), 'pods')
  store.save('pods', object('a'))
  t.equal(seen.length, 2)
  t.ok((seen[0] ?? 0) < (seen[1] ?? 0))
})

t.test('a listener that has left, or that listens to another resource, is not told', async (t) => {
  using store = memory()
  const left = store.subscribe(() => t.fail('has left'))
  left[Symbol.dispose]()
  store.subscribe(() => t.fail('other resource'), 'secrets')
  store.save('pods', object('a'))
})

t.test('the past can be asked for until it is forgotten, per resource', async (t) => {
  using store = memory(4)
  const quiet = Number(store.save('secrets', object('q')).metadata.resourceVersion)
  const before = store.version
  for (let n = 0; n < 20; n++) store.save('pods', object('a', n))
  t.equal(store.since('pods', before), 'expired')
  const recent = store.since('pods', store.version - 3)
  t.same(recent === 'expired' ? recent : recent.map((e: StoreEvent) => e.object['data']), [
    { n: '17' },
    { n: '18' },
    { n: '19' },
  ])
  t.same(store.since('secrets', quiet), [], 'a busy resource does not expire a quiet one')
})

t.test('large objects are forgotten sooner than small ones', (t) => {
  const log = new EventLog(1_000, 0)
  const event = (version: number): StoreEvent => ({
    version,
    type: 'MODIFIED',
    resource: 'configmaps',
    object: object('a'),
    previous: undefined,
  })
  for (let version = 1; version <= 100; version++) log.append(event(version), 1_000_000)
  t.equal(log.since(1), 'expired')
  t.same(log.since(98), [event(99), event(100)], 'the newest are kept')
  const quiet = new EventLog(1_000, 0)
  for (let version = 1; version <= 100; version++) quiet.append(event(version), 1_000)
  t.equal(quiet.since(0).length, 100)
  t.end()
})

t.test('a second opening finds objects and version, but not the past', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'lateen-store-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const path = join(dir, 'db')
  let last = 0
  {
    using store = new Store(openDatabase(path))
    store.save('pods', object('a', 1))
    store.save('pods', object('a', 2))
    const gone = store.save('pods', object('b'))
    store.remove('pods', gone)
    last = store.version
  }
  using again = new Store(openDatabase(path))
  t.equal(again.version, last)
  t.same(
    again.list('pods').map((o) => o['data']),
    [{ n: '2' }],
  )
  t.equal(again.since('pods', last - 1), 'expired')
  t.same(again.since('pods', last), [])
})
