import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import { readFileSync } from 'node:fs'
import { connect as tlsConnect } from 'node:tls'
import { once } from 'node:events'
import t from 'tap'
import { pkiFiles } from '../../../sandbox/api/auth/index.ts'
import { type Client, eventually, pod, startServer } from './harness.ts'

const core = '/api/v1/namespaces/default'

/** A kubelet that says what it was asked, and echoes what comes after an upgrade. */
async function startKubelet(socketPath: string) {
  const asked: string[] = []
  const open = new Set<Socket>()
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    response.writeHead(200, { 'content-type': 'text/plain' })
    response.write(`log of ${request.url}\n`)
    if (!request.url?.includes('follow=true')) response.end()
  })
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  server.on('upgrade', (request, socket, head) => {
    asked.push(
      `${request.method} ${request.url} ${request.headers['sec-websocket-protocol'] ?? ''} ${request.headers.authorization ?? 'no-authorization'}`,
    )
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    socket.write(head)
    socket.pipe(socket)
  })
  server.listen(socketPath)
  await once(server, 'listening')
  return { asked, open, close: () => (server.close(), server.closeAllConnections()) }
}

/** Sends raw bytes as the admin, and collects what comes back. */
function raw(c: Client, head: string) {
  const files = pkiFiles(c.config)
  const socket = tlsConnect({
    host: '127.0.0.1',
    port: c.server().port,
    ca: readFileSync(files.ca.certificate),
    cert: readFileSync(files.admin.certificate),
    key: readFileSync(files.admin.key),
  })
  let received = ''
  socket.on('data', (chunk) => (received += String(chunk))).on('error', () => undefined)
  socket.write(head)
  return { socket, received: () => received }
}
const upgrade = (path: string, more = '') =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n${more}\r\n`

t.test('what belongs to the kubelet', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const socketPath = c.config.nodes[0]?.kubeletSocket ?? ''
  const kubelet = await startKubelet(socketPath)
  t.teardown(() => kubelet.close())
  await c.call('POST', `${core}/serviceaccounts`, {
    body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } },
  })
  await c.call('POST', `${core}/pods`, { body: pod('p', {}, { nodeName: 'node-1' }) })
  await c.call('POST', `${core}/pods`, {
    body: pod(
      'two',
      {},
      {
        nodeName: 'node-1',
        containers: [
          { name: 'a', image: 'x' },
          { name: 'b', image: 'x' },
        ],
      },
    ),
  })
  await c.call('POST', `${core}/pods`, { body: pod('nowhere') })
  await c.call('POST', `${core}/pods`, { body: pod('dead', {}, { nodeName: 'node-2' }) })

  t.test('logs come from the node, with the options that were given', async (t) => {
    const reply = await c.call('GET', `${core}/pods/p/log?tailLines=5&timestamps=true`)
    t.equal(reply.status, 200)
    t.equal(reply.text, 'log of /containerLogs/default/p/c?tailLines=5&timestamps=true\n')
  })

  t.test('the container must be known', async (t) => {
    t.match(
      (await c.call('GET', `${core}/pods/two/log`)).body.message,
      /a container name must be specified for pod two, choose one of: \[a b\]/,
    )
    t.match(
      (await c.call('GET', `${core}/pods/two/log?container=z`)).body.message,
      'container z is not valid for pod two',
    )
    t.equal(
      (await c.call('GET', `${core}/pods/two/log?container=b`)).text,
      'log of /containerLogs/default/two/b\n',
    )
    t.match(await c.call('GET', `${core}/pods/nowhere/log`), { status: 400 })
    t.match(await c.call('GET', `${core}/pods/none/log`), { status: 404 })
    t.match(await c.call('GET', `${core}/pods/dead/log`), {
      status: 503,
      body: { reason: 'ServiceUnavailable' },
    })
  })

  t.test('a follower that goes is taken off the kubelet', async (t) => {
    await eventually(async () => (kubelet.open.size === 0 ? true : undefined))
    const { socket, received } = raw(c, `GET ${core}/pods/p/log?follow=true HTTP/1.1\r\nHost: x\r\n\r\n`)
    await eventually(async () => (received().includes('log of') ? true : undefined))
    t.equal(kubelet.open.size, 1)
    socket.destroy()
    await eventually(async () => (kubelet.open.size === 0 ? true : undefined))
  })

  t.test('exec is carried through byte for byte, without the credentials', async (t) => {
    const { socket, received } = raw(
      c,
      upgrade(`${core}/pods/p/exec?command=ls&command=-l&stdout=true&container=c`),
    )
    await eventually(async () => (received().includes('101 Switching Protocols') ? true : undefined))
    socket.write(Buffer.from('ping \x00\x01'))
    await eventually(async () => (received().includes('ping \x00\x01') ? true : undefined))
    t.equal(
      kubelet.asked.at(-1),
      'GET /exec/default/p/c?command=ls&command=-l&stdout=true v5.channel.k8s.io no-authorization',
    )
    socket.destroy()
    await eventually(async () => (kubelet.open.size === 0 ? true : undefined))
  })

  t.test('SPDY’s POST goes the same way', async (t) => {
    const { socket, received } = raw(
      c,
      `POST ${core}/pods/p/portforward HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n`,
    )
    await eventually(async () => (received().includes('101') ? true : undefined))
    t.match(kubelet.asked.at(-1), /^POST \/portForward\/default\/p /)
    socket.destroy()
  })

  t.test('what may not be upgraded is refused in words', async (t) => {
    const cases: [string, RegExp][] = [
      [`${core}/pods/none/exec?command=x`, /404 NotFound/],
      [`${core}/configmaps`, /400 BadRequest/],
      ['/version', /400 BadRequest/],
      [`${core}/pods/dead/exec?command=x`, /503 ServiceUnavailable/],
    ]
    for (const [path, want] of cases) {
      const { received } = raw(c, upgrade(path))
      await eventually(async () => (received() === '' ? undefined : true))
      t.match(received(), want, path)
    }
    t.match(await c.call('GET', `${core}/pods/p/exec?command=x`), {
      status: 400,
      body: { message: /Upgrade/ },
    })
  })

  t.test('exec needs the right to it', async (t) => {
    const issued = await c.call('POST', `${core}/serviceaccounts/default/token`, { body: {} })
    const ca = readFileSync(pkiFiles(c.config).ca.certificate)
    const socket = tlsConnect({ host: '127.0.0.1', port: c.server().port, ca })
    let received = ''
    socket.on('data', (chunk) => (received += String(chunk)))
    const before = kubelet.asked.length
    socket.write(
      upgrade(`${core}/pods/p/exec?command=x`, `Authorization: Bearer ${issued.body.status.token}\r\n`),
    )
    await once(socket, 'close')
    t.match(received, /403 Forbidden[^]*cannot get resource \\"pods\/exec\\"/)
    t.equal(kubelet.asked.length, before, 'the kubelet was not asked')
  })
})

t.test('bytes that are no TLS or no HTTP harm nobody', async (t) => {
  const c = await startServer()
  t.teardown(() => c[Symbol.asyncDispose]())
  const plain = connect({ host: '127.0.0.1', port: c.server().port })
  plain.on('error', () => undefined).write('GET / HTTP/1.1\r\n\r\n')
  await once(plain, 'close')
  const { socket } = raw(c, 'nonsense\r\n\r\n')
  await once(socket, 'close')
  t.equal((await c.call('GET', '/healthz')).text, 'ok')
})
