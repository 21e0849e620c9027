import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { rule, scene, tcpUpstream, upstreamOf } from './kit.ts'

/** Sends `text` and gives back what comes until `enough` of it is there, or the connection ends. */
async function say(port: number, text: string, enough: RegExp): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  let got = ''
  const done = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      got += chunk.toString('latin1')
      if (enough.test(got)) resolve()
    })
    socket.on('close', () => resolve())
    socket.on('end', () => resolve())
  })
  socket.write(text)
  await done
  socket.destroy()
  return got
}

t.test('CONNECT inside of a tunnel opens no way past the routes', async (t) => {
  let heard = ''
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => {
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1')
      // An application that answers every method alike.
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    })
  })
  const s = await scene(t, { a })
  const got = await say(
    await s.front(),
    'CONNECT web:80 HTTP/1.1\r\nhost: web:80\r\n\r\nGET /admin HTTP/1.1\r\nhost: web\r\n\r\n',
    /\r\n\r\n/,
  )
  t.match(got, /^HTTP\/1\.1 404 /)
  await eventually(() => s.lines().length === 1, 'a line of the access log')
  t.match(s.lines()[0], / 404 NR route_not_found /)
  t.equal(heard, '', 'nothing has reached the application')
})

t.test('only WebSocket is upgraded to', async (t) => {
  let heard = ''
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => {
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1')
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: evil\r\n\r\n')
    })
  })
  const s = await scene(t, { a })
  const got = await say(
    await s.front(),
    'GET / HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: evil\r\n\r\n',
    /\r\n\r\n/,
  )
  t.match(got, /^HTTP\/1\.1 403 /)
  t.equal(heard, '')
})

t.test('what only proxies say is taken from clients, however it is written', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    response.end(JSON.stringify(request.rawHeaders))
  })
  const s = await scene(t, { a })
  const forged = [
    'X-Forwarded-Client-Cert',
    'x_forwarded_client_cert',
    'X-Envoy-Original-Path',
    'x-envoy-original-host',
    'x_envoy_original_path',
    'x-envoy-internal',
    'X-Envoy-Expected-Rq-Timeout-Ms',
    'x-envoy-is-timeout-retry',
    'x-envoy-decorator-operation',
    'x-envoy-peer-metadata',
    'x-envoy-original-dst-host',
    'x-istio-source',
    'X-Istio-Attributes',
    'x_istio_source',
    'Content_Length',
    'transfer_encoding',
  ]
  const headers = ['host', 'web', 'x-fine', 'forged-not', 'x_also_fine', 'forged-not']
  for (const name of forged) headers.push(name, 'forged', name, 'forged')
  const head = headers.map((text, i) => (i % 2 === 0 ? `${text}: ` : `${text}\r\n`)).join('')
  const got = await say(await s.front(), `GET / HTTP/1.1\r\n${head}\r\n`, /\r\n\r\n\[.*\]$/)
  t.notMatch(got, /"forged"/)
  t.match(got, /"x-fine","forged-not","x_also_fine","forged-not"/)
})

t.test('what a rewrite leaves of a path leads nowhere else', async (t) => {
  const heard: (string | undefined)[] = []
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
    heard.push(request.url)
    response.end('a')
  })
  const s = await scene(t, { a })
  const match = { path: { kind: 'prefix', value: '/a' } } as const
  await s.route({ http: [rule({ match }, { rewrite: { path: { kind: 'prefix', value: '/' } } })] })
  t.equal((await s.get('/ab')).status, 200)
  t.equal((await s.get('/a../admin')).status, 400)
  t.equal((await s.get('/a.%2e/admin')).status, 400)
  t.equal((await s.get('/a./admin')).status, 400)
  t.strictSame(heard, ['/b'])
})

t.test(
  'a request that does not begin like one is one all the same where the port may speak anything',
  async (t) => {
    const heard: string[] = []
    const a = await upstreamOf(t, '127.0.0.2', (request, response) => {
      heard.push(`${request.method} ${String(request.headers['x-forwarded-client-cert'] ?? 'nobody')}`)
      response.end('ok')
    })
    const s = await scene(t, { a })
    const rest =
      'host: web\r\nx-forwarded-client-cert: URI=spiffe://cluster.local/ns/a/sa/root\r\nconnection: close\r\n\r\n'
    for (const first of [
      '\r\nGET / HTTP/1.1',
      '\n\nGET / HTTP/1.1',
      'NOTIFY / HTTP/1.1',
      'GET\t/\tHTTP/1.1',
      'get / HTTP/1.1',
    ])
      t.match(await say(await s.front(), `${first}\r\n${rest}`, /\r\n\r\n/), /^HTTP\/1\.1 (200|400) /, first)
    t.ok(heard.length > 0)
    t.notOk(heard.some((one) => one.includes('root')))
  },
)

t.test('one address does not take all connections', async (t) => {
  const s = await scene(t, {})
  const { hbone } = s.running.waypoint.ports
  const sockets: Socket[] = []
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  const open = async (localAddress: string) => {
    const socket = connect({ host: '127.0.0.1', port: hbone, localAddress })
    sockets.push(socket)
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    return socket
  }
  for (let n = 0; n < 1_000; n += 50) await Promise.all(Array.from({ length: 50 }, () => open('127.0.0.7')))
  const last = await open('127.0.0.7').catch(() => undefined)
  if (last && !last.destroyed) await new Promise((resolve) => last.once('close', resolve))
  t.equal(sockets.slice(0, 1_000).filter(({ destroyed }) => destroyed).length, 0)
  await s.tunnel()
  t.pass('another address is served')
})
