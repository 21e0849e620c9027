import t from 'tap'
import { openDatabase, Store, type StoreEvent } from '../../../../sandbox/api/store/index.ts'
import { initialEvents, selectEvent, type WatchEvent } from '../../../../sandbox/api/watch/index.ts'

const object = (name: string, label: string, version = '1') => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'ns', resourceVersion: version, labels: { app: label } },
})
const isWeb = ({ metadata }: { metadata: { labels?: Readonly<Record<string, string>> } }) =>
  metadata.labels?.['app'] === 'web'

const change = (type: StoreEvent['type'], before: string | undefined, after: string): StoreEvent => ({
  version: 2,
  type,
  resource: 'pods',
  object: object('p', after, '2'),
  previous: before === undefined ? undefined : object('p', before),
})

const cases: [string, StoreEvent, string | undefined][] = [
  ['a new object that matches', change('ADDED', undefined, 'web'), 'ADDED'],
  ['a new object that does not', change('ADDED', undefined, 'db'), undefined],
  ['a change within the selection', change('MODIFIED', 'web', 'web'), 'MODIFIED'],
  ['a change into the selection', change('MODIFIED', 'db', 'web'), 'ADDED'],
  ['a change out of the selection', change('MODIFIED', 'web', 'db'), 'DELETED'],
  ['a change outside', change('MODIFIED', 'db', 'x'), undefined],
  ['the end of a selected object', change('DELETED', 'web', 'web'), 'DELETED'],
  ['the end of another', change('DELETED', 'db', 'db'), undefined],
]
for (const [name, event, want] of cases)
  t.test(`${name} is seen as ${want ?? 'nothing'}`, async (t) =>
    t.equal(selectEvent(event, isWeb)?.type, want),
  )

t.test('what leaves the selection is shown as it last matched, at the version of the change', async (t) => {
  const seen = selectEvent(change('MODIFIED', 'web', 'db'), isWeb)
  t.match(seen, { object: { metadata: { labels: { app: 'web' }, resourceVersion: '2' } } })
})

t.test('a watch begins with the state, with nothing, or with the past since a version', async (t) => {
  using store = new Store(openDatabase(':memory:'), 4)
  const request = { resource: 'pods', namespace: undefined, selects: isWeb }
  const first = store.save('pods', object('a', 'web'))
  store.save('pods', object('b', 'db'))
  store.save('pods', object('c', 'web'))
  const names = (events: readonly WatchEvent[] | 'expired') =>
    events === 'expired'
      ? events
      : events.map((e) => (e.type === 'BOOKMARK' ? e.type : `${e.type} ${e.object.metadata.name ?? ''}`))
  t.same(names(initialEvents(store, { ...request, start: { kind: 'state', bookmark: true } })), [
    'ADDED a',
    'ADDED c',
    'BOOKMARK',
  ])
  t.same(names(initialEvents(store, { ...request, start: { kind: 'now' } })), [])
  const after = Number(first.metadata.resourceVersion)
  t.same(names(initialEvents(store, { ...request, start: { kind: 'after', version: after } })), ['ADDED c'])
  for (let n = 0; n < 10; n++) store.save('pods', object('a', 'web', String(n)))
  t.equal(initialEvents(store, { ...request, start: { kind: 'after', version: after } }), 'expired')
})
