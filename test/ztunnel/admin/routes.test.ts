import { request } from 'node:http'
import t from 'tap'
import { serveAdmin } from '#telemetry'
import { startAdmin as start } from './admin-kit.ts'

const changes: [query: string, filter: string][] = [
  ['level=debug', 'debug,access=off'],
  ['level=access=debug', 'info,access=debug'],
  ['level=access:debug', 'info,access=debug'],
  ['level=ztunnel::xds:trace,access=warn', 'info,access=warn,ztunnel::xds=trace'],
  ['level=ztunnel::xds=trace,error', 'error,access=off,ztunnel::xds=trace'],
  ['level=warning', 'warn,access=off'],
  ['level=access:critical', 'info,access=error'],
  ['level=INFO', 'info,access=off'],
  ['level=debug&reset', 'debug'],
  ['reset', 'info'],
  ['level=access=off&reset', 'info,access=off'],
  ['level=', 'info,access=off'],
]
for (const [query, filter] of changes) {
  t.test(`POST /logging?${query} leaves ${filter}`, async (t) => {
    const { call, logs } = await start(t)
    logs.setFilter('info,access=off')
    t.strictSame(await call(`/logging?${query}`, 'POST'), {
      status: 200,
      body: `New log level is ${filter}\n`,
    })
    t.equal(logs.filter(), filter)
  })
}

t.test('the log filter is shown and changed by POST only, and stays when a level is unknown', async (t) => {
  const { call, logs } = await start(t)
  t.equal((await call('/logging?level=debug')).status, 405)
  t.match((await call('/logging', 'POST')).body, 'current log level is info')
  for (const level of ['loud', 'access=loud', 'access:loud', 'a=b=c', ',=', 'x'.repeat(5_000)])
    t.equal((await call(`/logging?level=${level}`, 'POST')).status, 400, level.slice(0, 20))
  t.equal(logs.filter(), 'info')
})

t.test('quitting needs a POST; unknown paths are not found', async (t) => {
  const { call, quits } = await start(t)
  t.equal((await call('/quitquitquit')).status, 405)
  t.equal(quits.length, 0)
  t.strictSame(await call('/quitquitquit', 'POST'), { status: 200, body: 'shutdown now\n' })
  t.equal(quits.length, 1)
  for (const path of ['/nope', '/constructor', '/__proto__', '//config_dump', '/config_dump/'])
    t.equal((await call(path)).status, 404, path)
  t.equal((await call('/')).status, 200)
})

t.test('who waits for the end is told of it, also while the server closes', async (t) => {
  const asked = Promise.withResolvers<void>()
  const over = Promise.withResolvers<void>()
  const server = await serveAdmin(0, {
    '/quitquitquit': async () => {
      asked.resolve()
      await over.promise
      return { status: 200, body: 'shutdown now\n' }
    },
    '/hangs': () => new Promise(() => undefined),
  })
  const answer = fetch(`http://127.0.0.1:${server.port}/quitquitquit`, { method: 'POST' })
  const hanging = fetch(`http://127.0.0.1:${server.port}/hangs`)
  void hanging.catch(() => undefined)
  await asked.promise
  const closed = server[Symbol.asyncDispose]()
  over.resolve()
  t.equal((await answer).status, 200)
  await closed
  await t.rejects(hanging, 'but nobody holds the end up')
})

t.test('answers are not to be guessed at', async (t) => {
  const { port } = await start(t)
  for (const path of ['/', '/config_dump', '/nope']) {
    const { headers } = await fetch(`http://127.0.0.1:${port}${path}`)
    t.equal(headers.get('x-content-type-options'), 'nosniff')
    t.equal(headers.get('access-control-allow-origin'), null)
  }
})

t.test('a web page in the browser of an operator gets nothing and stops nothing', async (t) => {
  const { port, quits } = await start(t)
  const status = (path: string, method: string, headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, method, headers }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      sent.on('error', reject).end()
    })
  t.equal(await status('/config_dump', 'GET', { host: 'evil.example:15000' }), 403, 'rebound name')
  t.equal(await status('/quitquitquit', 'POST', { origin: 'https://evil.example' }), 403, 'foreign form')
  for (const host of ['localhost:15000', '127.0.0.1:15000', '[::1]:15000', 'localhost'])
    t.equal(await status('/config_dump', 'GET', { host }), 200, host)
  t.same(quits, [])
})
