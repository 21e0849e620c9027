import { once } from 'node:events'
import {
  connect as tlsConnect,
  type ConnectionOptions,
  createServer as createTlsServer,
  type TLSSocket,
} from 'node:tls'
import t, { type Test } from 'tap'
import { ip, MeshError } from '#base'
import { serveHbone } from '#hbone'
import { createRoot, generateKeyPair, privateKeyPem, type WorkloadCertificate } from '#identity'
import { ext, oddLeaf } from '../identity/odd-certificates.ts'
import {
  certificateOf,
  client,
  echo,
  idOf,
  never,
  poolOf,
  root,
  serve,
  server,
  tcpPair,
  towards,
  until,
} from './support.ts'

const foreign = createRoot({ organization: 'foreign', validityMs: 3_600_000 })
const elsewhere = (name: string) => idOf(name).replace('cluster.local', 'other.domain') as typeof client.id

/** A certificate of exactly these extensions, signed by our own root. */
function odd(...extensions: Parameters<typeof oddLeaf>[3][number][]): WorkloadCertificate {
  const key = generateKeyPair()
  const leaf = oddLeaf(root, 'test', key.publicKey, extensions)
  return { ...client, privateKeyPem: privateKeyPem(key.privateKey), chainPem: [leaf] }
}
const uri = (id: string) => [6, id] as const

const refused: [string, () => WorkloadCertificate][] = [
  ['an expired certificate', () => certificateOf(client.id, root, -1000)],
  [
    'a certificate of another root',
    () => ({ ...certificateOf(client.id, foreign), rootsPem: [root.certPem] }),
  ],
  ['two URI names', () => odd(ext.leaf, ext.signs, ext.names(uri(client.id), uri(server.id)))],
  ['CA:TRUE', () => odd(ext.authority, ext.signs, ext.names(uri(client.id)))],
  ['no names', () => odd(ext.leaf, ext.signs)],
  ['a key that may not sign', () => odd(ext.leaf, ext.agrees, ext.names(uri(client.id)))],
  ['another trust domain', () => certificateOf(elsewhere('client'))],
]

const failureOf = (error: unknown) => (error instanceof MeshError ? error.code : String(error))

for (const [title, certificate] of refused) {
  t.test(`a server lets nobody in with ${title}`, async (t) => {
    const served = await serve(t, echo)
    const error: unknown = await poolOf(t)
      .connect(towards(served.address, certificate()))
      .catch((e: unknown) => e)
    t.ok(error instanceof MeshError, failureOf(error))
    t.equal(served.tunnels.length, 0)
    t.ok((await served.connections[0]?.closed)?.error instanceof MeshError)
  })
  if (title === 'another trust domain') continue
  t.test(`a client talks to no server with ${title}`, async (t) => {
    const odd = { ...certificate(), id: server.id }
    const served = await serve(t, echo, {}, odd)
    const error: unknown = await poolOf(t)
      .connect(towards(served.address, client, [client.id, server.id]))
      .catch((e: unknown) => e)
    t.equal(failureOf(error), 'tls-failed')
    t.equal(served.tunnels.length, 0)
  })
}

t.test('a client talks to nobody but those it expects', async (t) => {
  const served = await serve(t, echo)
  for (const expected of [[], [client.id], [elsewhere('server')]]) {
    const error: unknown = await poolOf(t)
      .connect(towards(served.address, client, expected))
      .catch((e: unknown) => e)
    t.equal(failureOf(error), 'tls-failed')
  }
  t.equal(served.tunnels.length, 0)
})

t.test('a client may expect another trust domain', async (t) => {
  const far = { ...certificateOf(elsewhere('server')), id: server.id }
  const served = await serve(t, echo, {}, far)
  const tunnel = await poolOf(t).connect(towards(served.address, client, [elsewhere('server')]))
  t.equal(tunnel.peer, elsewhere('server'))
})

t.test('roots of two generations are believed side by side', async (t) => {
  const next = createRoot({ organization: 'next', validityMs: 3_600_000 })
  const both = { ...server, rootsPem: [root.certPem, next.certPem] }
  const served = await serve(t, echo, {}, both)
  const renewed = { ...certificateOf(idOf('client'), next), rootsPem: [root.certPem, next.certPem] }
  t.ok(await poolOf(t).connect(towards(served.address, renewed)))
  t.ok(await poolOf(t).connect(towards(served.address)))
})

/** What a stranger with these TLS options sees of our server: the protocol, or nothing. */
async function stranger(t: Test, options: ConnectionOptions, limits = {}) {
  const served = await serve(t, echo, limits)
  const socket: TLSSocket = tlsConnect({
    host: served.address.address,
    port: served.address.port,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    ...options,
  })
  t.teardown(() => void socket.destroy())
  socket.on('error', () => undefined)
  return { served, socket }
}
const own: ConnectionOptions = { key: client.privateKeyPem, cert: client.chainPem[0] ?? '', ca: root.certPem }

const strangers: [string, ConnectionOptions][] = [
  ['no certificate', {}],
  ['TLS 1.2', { ...own, maxVersion: 'TLSv1.2' }],
  ['no ALPN', { ...own, ALPNProtocols: [] }],
  ['HTTP/1.1 by ALPN', { ...own, ALPNProtocols: ['http/1.1'] }],
  ['ChaCha20 only', { ...own, ciphers: 'TLS_CHACHA20_POLY1305_SHA256' }],
]
const gone = (socket: TLSSocket) => new Promise<void>((resolve) => socket.once('close', () => resolve()))

for (const [title, options] of strangers) {
  t.test(`a client with ${title} is turned away`, async (t) => {
    const { served, socket } = await stranger(t, options)
    let heard = 0
    socket.on('data', (bytes: Buffer) => {
      heard += bytes.length
    })
    await gone(socket)
    t.equal(heard, 0)
    t.ok((await served.connections[0]?.closed)?.error)
    t.equal(served.connections[0]?.peer, undefined)
  })
}

t.test('nothing is resumed: an old session proves nothing', async (t) => {
  const { served, socket } = await stranger(t, own)
  let session: Buffer | undefined
  socket.on('session', (offered: Buffer) => {
    session = offered
  })
  await once(socket, 'data')
  t.equal(socket.getProtocol(), 'TLSv1.3')
  t.equal(served.connections[0]?.peer, client.id)
  if (session === undefined) return // nothing was even offered
  const again = (options: ConnectionOptions) => {
    const { address: host, port } = served.address
    const second = tlsConnect({
      host,
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      session,
      ...options,
    })
    t.teardown(() => void second.destroy())
    second.on('error', () => undefined)
    return second
  }
  const honest = again(own)
  await once(honest, 'data')
  t.notOk(honest.isSessionReused())
  await gone(again({}))
  await until(() => served.connections.length === 3)
  t.ok((await served.connections[2]?.closed)?.error, 'without a certificate the session is worth nothing')
})

t.test('the key exchange is the post-quantum hybrid', async (t) => {
  const { socket } = await stranger(t, { ...own, ecdhCurve: 'X25519MLKEM768' })
  await once(socket, 'data')
  t.match(socket.getCipher().name, /AES_256_GCM/)
})

t.test('a handshake that stands still is cut off', async (t) => {
  const [mute, socket] = await tcpPair(t)
  const connection = serveHbone(socket, {
    certificate: server,
    limits: { handshakeMs: 50 },
    onTunnel() {},
    signal: never,
  })
  t.match((await connection.closed).error, { code: 'timeout' })
  mute.resume()
  await once(mute, 'end')
})

t.test('a client that is offered HTTP/1.1 or TLS 1.2 goes away', async (t) => {
  for (const options of [
    { ALPNProtocols: ['http/1.1'] },
    { maxVersion: 'TLSv1.2' as const, ALPNProtocols: ['h2'] },
  ]) {
    const listener = createTlsServer({
      key: server.privateKeyPem,
      cert: server.chainPem[0] ?? '',
      ca: root.certPem,
      requestCert: true,
      ...options,
    })
    listener.on('tlsClientError', () => undefined)
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    t.teardown(() => void listener.close())
    const address = listener.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const error: unknown = await poolOf(t)
      .connect(towards({ address: ip('127.0.0.1'), port }))
      .catch((e: unknown) => e)
    t.equal(failureOf(error), 'tls-failed')
  }
})
