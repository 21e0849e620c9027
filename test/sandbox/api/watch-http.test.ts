import t from 'tap'
import { configMap, eventually, startServer } from './harness.ts'

const path = '/api/v1/namespaces/default/configmaps'
const base = `${path}?labelSelector=t%3Dw`
const mine = (name: string, data: Record<string, string> = {}, label = 'w') =>
  configMap(name, data, { labels: { t: label } })

t.test('watches', async (t) => {
  const c = await startServer({ eventsPerResource: 50 })
  t.teardown(() => c[Symbol.asyncDispose]())
  const now = async () => (await c.call('GET', base)).body.metadata.resourceVersion

  t.test('answer at once on a quiet resource', async (t) => {
    using w = await c.watch(`${base}&watch=true&resourceVersion=${await now()}`)
    t.equal(w.status, 200, 'the head has come although nothing has happened')
  })

  t.test('tell what happens, with transitions of the selector', async (t) => {
    using w = await c.watch(`${base}&watch=true&resourceVersion=${await now()}`)
    await c.call('POST', path, { body: configMap('other') })
    await c.call('POST', path, { body: mine('a') })
    t.match(await w.next(), { type: 'ADDED', object: { metadata: { name: 'a' } } })
    await c.call('PATCH', `${path}/a`, { type: 'application/merge-patch+json', body: { data: { x: '1' } } })
    t.match(await w.next(), { type: 'MODIFIED', object: { data: { x: '1' } } })
    await c.call('PATCH', `${path}/a`, {
      type: 'application/merge-patch+json',
      body: { metadata: { labels: { t: 'z' } } },
    })
    t.match(await w.next(), { type: 'DELETED', object: { metadata: { labels: { t: 'w' } } } })
    await c.call('PATCH', `${path}/a`, {
      type: 'application/merge-patch+json',
      body: { metadata: { labels: { t: 'w' } } },
    })
    t.match(await w.next(), { type: 'ADDED' })
    const gone = await c.call('DELETE', `${path}/a`)
    const event = await w.next()
    t.match(event, { type: 'DELETED', object: { metadata: { name: 'a' } } })
    t.equal(gone.status, 200)
    t.equal(Number(event?.object.metadata.resourceVersion), c.server().api.store.version)
  })

  t.test('resume after a version without a gap', async (t) => {
    const from = await now()
    await c.call('POST', path, { body: mine('r1') })
    await c.call('POST', path, { body: mine('r2') })
    using w = await c.watch(`${base}&watch=1&resourceVersion=${from}`)
    t.equal((await w.next())?.object.metadata.name, 'r1')
    t.equal((await w.next())?.object.metadata.name, 'r2')
  })

  t.test(
    'begin with the state when no version is given, and with one name when the path has one',
    async (t) => {
      using w = await c.watch(`${path}/r2?watch=true`)
      t.match(await w.next(), { type: 'ADDED', object: { metadata: { name: 'r2' } } })
      await c.call('PATCH', `${path}/r1`, {
        type: 'application/merge-patch+json',
        body: { data: { x: '1' } },
      })
      await c.call('PATCH', `${path}/r2`, {
        type: 'application/merge-patch+json',
        body: { data: { x: '2' } },
      })
      t.match(await w.next(), { type: 'MODIFIED', object: { data: { x: '2' } } })
    },
  )

  t.test('WatchList: the state, a bookmark that says so, then changes', async (t) => {
    const query =
      'watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan'
    using w = await c.watch(`${base}&${query}`)
    t.match(await w.next(), { type: 'ADDED', object: { metadata: { name: 'r1' } } })
    t.match(await w.next(), { type: 'ADDED', object: { metadata: { name: 'r2' } } })
    t.match(await w.next(), {
      type: 'BOOKMARK',
      object: {
        kind: 'ConfigMap',
        metadata: { resourceVersion: /^\d+$/, annotations: { 'k8s.io/initial-events-end': 'true' } },
      },
    })
    await c.call('POST', path, { body: mine('r3') })
    t.match(await w.next(), { type: 'ADDED', object: { metadata: { name: 'r3' } } })
  })

  t.test('WatchList that is asked for wrongly is refused, never ignored', async (t) => {
    for (const query of [
      'sendInitialEvents=true',
      'sendInitialEvents=true&resourceVersionMatch=NotOlderThan',
      'resourceVersionMatch=Exact&resourceVersion=1',
    ]) {
      const reply = await c.call('GET', `${base}&watch=true&${query}`)
      t.match(reply, { status: 422, body: { reason: 'Invalid' } }, query)
    }
  })

  t.test('end in time, with a last bookmark', async (t) => {
    using w = await c.watch(
      `${base}&watch=true&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=${await now()}`,
    )
    t.match(await w.next(), {
      type: 'BOOKMARK',
      object: { metadata: { resourceVersion: String(c.server().api.store.version) } },
    })
    t.equal(await w.next(), undefined)
  })

  t.test('of a forgotten past are told 410', async (t) => {
    const from = await now()
    for (let n = 0; n < 120; n++)
      await c.call('PATCH', `${path}/r1`, {
        type: 'application/merge-patch+json',
        body: { data: { n: String(n) } },
      })
    using w = await c.watch(`${base}&watch=true&resourceVersion=${from}`)
    t.match(await w.next(), { type: 'ERROR', object: { kind: 'Status', reason: 'Expired', code: 410 } })
    t.equal(await w.next(), undefined)
  })

  t.test('can show tables and bare metadata', async (t) => {
    using table = await c.watch(`${path}/r2?watch=true`, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
    })
    t.match(await table.next(), {
      type: 'ADDED',
      object: { kind: 'Table', columnDefinitions: [{ name: 'Name' }, {}, {}], rows: [{ cells: ['r2'] }] },
    })
    await c.call('PATCH', `${path}/r2`, { type: 'application/merge-patch+json', body: { data: { x: '3' } } })
    t.match(await table.next(), {
      type: 'MODIFIED',
      object: { columnDefinitions: [], rows: [{ object: { kind: 'PartialObjectMetadata' } }] },
    })
    using bare = await c.watch(`${path}/r2?watch=true`, {
      accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    })
    const event = await bare.next()
    t.match(event, { object: { kind: 'PartialObjectMetadata', metadata: { name: 'r2' } } })
    t.notOk('data' in (event?.object ?? {}))
  })

  t.test('a reader that does not read is cut off', async (t) => {
    const w = await c.watch(`${base}&watch=true&resourceVersion=${await now()}`)
    const big = 'x'.repeat(1024 * 1024)
    const { store } = c.server().api
    const live = store.get('configmaps', 'default', 'r1')
    if (live === undefined) throw new Error('r1 is there')
    for (let n = 0; n < 40; n++) store.save('configmaps', { ...live, data: { big, n: String(n) } })
    let last: unknown = 'something'
    let seen = 0
    while (last !== undefined) {
      last = await w.next()
      seen++
    }
    t.ok(seen < 40, `ended after ${seen}`)
  })

  t.test('a client that goes leaves nothing behind', async (t) => {
    const { store } = c.server().api
    const listening = new Set<object>()
    const subscribe = store.subscribe.bind(store)
    store.subscribe = (...asked) => {
      const subscription = subscribe(...asked)
      listening.add(subscription)
      return {
        [Symbol.dispose]: () => {
          listening.delete(subscription)
          subscription[Symbol.dispose]()
        },
      }
    }
    t.teardown(() => {
      store.subscribe = subscribe
    })
    const w = await c.watch(`${base}&watch=true`)
    await w.next()
    t.equal(listening.size, 1, 'it is told of changes')
    w[Symbol.dispose]()
    await eventually(async () => (listening.size === 0 ? true : undefined))
    t.equal((await c.call('GET', '/healthz')).status, 200)
  })

  t.test('the stop of the server ends them', async (t) => {
    const w = await c.watch(`${path}/r3?watch=true`)
    await w.next()
    await c.restart()
    t.equal(await w.next(), undefined)
  })
})
