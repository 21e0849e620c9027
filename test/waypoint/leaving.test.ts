import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import t, { type Test } from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { ask, type Scene, scene, upstreamOf } from './kit.ts'

/** Requests of HTTP/2 on one connection, as many as it takes; what was refused, and how many connections it took. */
async function requests(t: Test, port: number, until: () => boolean) {
  const refused: string[] = []
  let connections = 0
  let served = 0
  const open = () => {
    connections++
    const made = http2.connect(`http://127.0.0.1:${port}`)
    made.on('error', () => undefined)
    t.teardown(() => made.destroy())
    return made
  }
  let session = open()
  while (!until()) {
    if (session.closed || session.destroyed) session = open()
    const stream = session.request({ ':path': '/', ':authority': 'web.demo' })
    stream.resume()
    await once(stream, 'end').then(
      () => served++,
      (error: unknown) => refused.push(String(error)),
    )
    // What the connection has to say comes before the next request.
    await new Promise((next) => setImmediate(next))
  }
  return { refused, connections, served }
}

const leaveSlowly = { TERMINATION_LINGER: '500ms', TERMINATION_GRACE_PERIOD_SECONDS: '30' }

async function web(t: Test): Promise<Scene> {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('ok'))
  return scene(t, { a }, leaveSlowly)
}

t.test('who comes while we leave is not sent away with every connection', async (t) => {
  const s = await web(t)
  const port = await s.front()
  t.equal((await s.get('/')).status, 200)
  let over = false
  const leaving = s.running.waypoint.drain().then(() => (over = true))
  await eventually(() => s.running.waypoint.readiness.waitingFor.length > 0, 'it leaves')
  const end = performance.now() + 400
  const seen = await requests(t, port, () => performance.now() > end)
  t.same(seen.refused, [])
  t.ok(seen.served > 5, `${seen.served} served`)
  t.ok(seen.connections <= 2, `by ${seen.connections} connections`)
  t.notOk(over, 'it is there as long as somebody comes')
  await leaving
})

t.test(
  'a client of HTTP/1.1 that was there is told with its next answer, one that is silent is let go',
  async (t) => {
    const s = await web(t)
    const port = await s.front()
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    t.not((await ask(port, '/', { agent })).headers.connection, 'close')
    const leaving = s.running.waypoint.drain()
    await eventually(() => s.running.waypoint.readiness.waitingFor.length > 0, 'it leaves')
    t.match(await ask(port, '/', { agent }), { status: 200, headers: { connection: 'close' }, body: 'ok' })
    await leaving
  },
)

t.test('whoever has a request under way gets its answer, and then everything ends', async (t) => {
  const answers: (() => void)[] = []
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void answers.push(() => response.end('late')))
  const s = await scene(t, { a }, leaveSlowly)
  const got = s.get('/')
  await eventually(() => answers.length === 1, 'the request is there')
  const leaving = s.running.waypoint.drain()
  await eventually(() => s.running.waypoint.readiness.waitingFor.length > 0, 'it leaves')
  for (const answer of answers) answer()
  t.match(await got, { status: 200, body: 'late' })
  await leaving
  await t.rejects(s.tunnel(), 'nobody is taken any more')
})

t.test('clients whose own proxy leaves are told to come again, and nothing under way is lost', async (t) => {
  const slow: (() => void)[] = []
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    if (request.url === '/slow') slow.push(() => response.end('slow'))
    else response.end('ok')
  })
  const s = await scene(t, { a })
  const port = await s.front()
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const underWay = s.get('/slow')
  await eventually(() => slow.length === 1, 'a request is under way')
  t.not((await ask(port, '/', { agent })).headers.connection, 'close')
  s.leave()
  await eventually(async () => (await ask(port, '/', { agent })).headers.connection === 'close', 'it is told')
  t.match(await ask(port, '/', { agent }), { status: 200, body: 'ok' }, 'by another connection')
  for (const answer of slow) answer()
  t.match(await underWay, { status: 200, body: 'slow' })
})
