import { once } from 'node:events'
import * as http from 'node:http'
import t from 'tap'
import { ask, listen, proxyTo } from './support.ts'

const echo = (): http.Server =>
  http.createServer((request, response) => {
    const seen = {
      'x-path': request.url ?? '',
      'x-host': request.headers.host ?? '',
      'x-seen': request.rawHeaders.join('|'),
    }
    if (request.method !== 'POST')
      return void response.writeHead(200, { ...seen, 'content-length': '5' }).end('hello')
    response.writeHead(200, seen)
    request.pipe(response)
  })

t.test('requests share a kept connection and keep path, host and headers', async (t) => {
  const origin = echo()
  let connections = 0
  origin.on('connection', () => connections++)
  const proxy = await proxyTo(t, await listen(t, origin), ['HTTP/1.1', 'HTTP/1.1'])
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (const path of ['/', '/a?b=c', '/%2f/x;y']) {
    const answer = await ask(proxy.port, {
      path,
      agent,
      headers: { 'X-Mixed-Case': 'Yes', host: 'shop.example:80' },
    })
    t.match(answer, { status: 200, headers: { 'x-path': path, 'x-host': 'shop.example:80' } })
    t.match(answer.headers['x-seen'], /x-mixed-case\|Yes/)
    t.equal(answer.body.toString(), 'hello')
  }
  t.equal(connections, 1, 'one connection to the origin')
  t.equal(proxy.connections.length, 1, 'and one from the client')
  t.strictSame(proxy.pool.use('group'), { connections: 1, pending: 0, requests: 0 })
})

t.test('large bodies pass both ways as they are', async (t) => {
  const proxy = await proxyTo(t, await listen(t, echo()), ['HTTP/1.1', 'HTTP/1.1'])
  const body = Buffer.alloc(8 << 20, 'not a power of two')
  const sized = await ask(proxy.port, { method: 'POST', body, headers: { 'content-length': body.length } })
  t.ok(sized.body.equals(body), 'with a length')
  const chunked = await ask(proxy.port, { method: 'POST', body, headers: { 'transfer-encoding': 'chunked' } })
  t.ok(chunked.body.equals(body), 'in chunks')
})

t.test('a status has its own words, whatever the upstream calls it', async (t) => {
  const origin = http.createServer((request, response) => {
    response.writeHead(Number(request.url?.slice(1)), 'Fine').end()
  })
  const proxy = await proxyTo(t, await listen(t, origin), ['HTTP/1.1', 'HTTP/1.1'])
  const told: (string | undefined)[] = []
  for (const path of ['/200', '/402', '/451', '/299']) {
    const request = http.get({ host: '127.0.0.1', port: proxy.port, path, agent: false })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    told.push(response.resume().statusMessage)
  }
  t.strictSame(told, ['OK', 'Payment Required', 'Unavailable For Legal Reasons', ''])
})
