import { once } from 'node:events'
import { createServer, get, type IncomingMessage } from 'node:http'
import t from 'tap'
import { openDatabase, Store } from '../../../../sandbox/api/store/index.ts'
import { serveWatch, type ServeOptions } from '../../../../sandbox/api/watch/index.ts'

const object = (name: string) => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'ns' } })

/** A server with one watch of all pods, and its one client. */
async function watching(t: { teardown: (end: () => void) => void }, options: Partial<ServeOptions>) {
  const store = new Store(openDatabase(':memory:'))
  const request = {
    resource: 'pods',
    namespace: undefined,
    selects: () => true,
    start: { kind: 'now' },
  } as const
  const server = createServer((_message, response) => {
    const encode = (event: { type: string }) => `${event.type}\n`
    const signal = new AbortController().signal
    serveWatch(store, request, response, { bookmarks: false, timeoutMs: 60_000, encode, signal, ...options })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server')
  const outgoing = get({ host: '127.0.0.1', port: address.port, agent: false })
  const [response]: IncomingMessage[] = await once(outgoing, 'response')
  if (response === undefined) throw new Error('an answer')
  response.on('error', () => undefined)
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
    store[Symbol.dispose]()
  })
  return { store, response }
}

t.test('a quiet watch is told the newest version again and again', async (t) => {
  const { response } = await watching(t, { bookmarks: true, bookmarkIntervalMs: 10 })
  let text = ''
  for await (const chunk of response) {
    text += String(chunk)
    if (text.split('\n').length > 3) break
  }
  t.match(text, /^BOOKMARK\nBOOKMARK\n/)
})

t.test('a watch that wants no bookmarks gets none, and ends in time', async (t) => {
  const { response, store } = await watching(t, { bookmarkIntervalMs: 5, timeoutMs: 100 })
  store.save('pods', object('a'))
  let text = ''
  for await (const chunk of response) text += String(chunk)
  t.equal(text, 'ADDED\n')
})

t.test('an object that cannot be shown ends this watch and disturbs no other listener', async (t) => {
  const { response, store } = await watching(t, {
    encode: () => {
      throw new Error('no such thing')
    },
  })
  const told: string[] = []
  store.subscribe(({ type }) => told.push(type), 'pods')
  response.resume()
  t.doesNotThrow(() => store.save('pods', object('a')))
  await new Promise((resolve) => response.once('close', resolve))
  t.same(told, ['ADDED'])
})

t.test('more unread bytes than the bound cut the watch off', async (t) => {
  const { response, store } = await watching(t, {
    encode: () => 'x'.repeat(1_000_000),
    maxBufferedBytes: 2_000_000,
  })
  for (let n = 0; n < 20; n++) store.save('pods', object(`p${n}`))
  let bytes = 0
  response.on('data', (chunk: Buffer) => (bytes += chunk.length))
  await new Promise((resolve) => response.once('close', resolve))
  t.ok(bytes < 20_000_000)
  t.doesNotThrow(() => store.save('pods', object('after')))
})
