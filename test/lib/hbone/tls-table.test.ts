import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import t, { type Test } from 'tap'
import { defaultLimits, type HboneServerConnection } from '#hbone'
import { createRoot } from '#identity'
import {
  certificateOf,
  client,
  dial,
  echo,
  listen,
  poolOf,
  readAll,
  root,
  serve,
  server,
  towards,
  until,
} from './support.ts'

// The table of security.md §5.2 against our listener: what gets in, and that everything else is gone in time.

const hasOpenssl = (() => {
  try {
    return execFileSync('openssl', ['version'], { encoding: 'utf8' }).startsWith('OpenSSL 3')
  } catch {
    return false
  }
})()
const skip = !hasOpenssl && 'openssl 3 is not installed'

const folder = await mkdtemp(join(tmpdir(), 'hbone-tls-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))
const file = async (name: string, text: string) => {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}
const pair = async (name: string, { privateKeyPem, chainPem }: typeof client) => [
  '-key',
  await file(`${name}.key`, privateKeyPem),
  '-cert',
  await file(`${name}.pem`, chainPem.join('')),
]
const own = await pair('own', client)
const expired = await pair('expired', certificateOf(client.id, root, -1_000))
const strange = await pair(
  'strange',
  certificateOf(client.id, createRoot({ organization: 'x', validityMs: 1e6 })),
)
const roots = await file('roots.pem', root.certPem)
const session = join(folder, 'session')
const early = await file('early', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const h2 = ['-alpn', 'h2']

type Ran = Readonly<{ said: string; connection: HboneServerConnection | undefined; tunnels: number }>

/** `openssl s_client` against a fresh listener. It stays until the handshake is decided, or types `commands` first. */
async function sClient(t: Test, args: readonly string[], commands?: string): Promise<Ran> {
  const served = await serve(t, echo)
  const { address, port } = served.address
  const child = spawn('openssl', ['s_client', '-connect', `${address}:${port}`, '-CAfile', roots, ...args])
  t.teardown(() => void child.kill())
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      said += bytes.toString('latin1')
    })
  child.stdin.on('error', () => undefined)
  const gone = once(child, 'close')
  let isOver = false
  void gone.then(() => {
    isOver = true
  })
  await until(() => isOver || served.connections[0]?.peer !== undefined)
  // The server's SETTINGS are an answer to the finished handshake.
  if (!isOver) await until(() => isOver || /Verification: OK/.test(said))
  if (commands) child.stdin.write(commands)
  child.stdin.end()
  await gone
  await served.connections[0]?.closed
  return { said, connection: served.connections[0], tunnels: served.tunnels.length }
}

const welcome: [string, string[]][] = [
  ['what a peer shows', [...own, ...h2]],
  ['X25519', [...own, ...h2, '-groups', 'X25519']],
  ['P-256', [...own, ...h2, '-groups', 'P-256']],
  ['P-384', [...own, ...h2, '-groups', 'P-384']],
  ['a group that needs another hello', [...own, ...h2, '-groups', 'X448:P-384']],
  ['AES-128', [...own, ...h2, '-ciphersuites', 'TLS_AES_128_GCM_SHA256']],
  ['AES-256', [...own, ...h2, '-ciphersuites', 'TLS_AES_256_GCM_SHA384']],
  [
    'ChaCha20 offered first',
    [...own, ...h2, '-ciphersuites', 'TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384'],
  ],
  ['h2 among others', [...own, '-alpn', 'http/1.1,h2']],
  ['a server name', [...own, ...h2, '-servername', 'istio.io']],
  ['an odd server name', [...own, ...h2, '-servername', `${'%00..'.repeat(50)}`]],
  ['an IP address as server name', [...own, ...h2, '-servername', '::1']],
  ['no server name', [...own, ...h2, '-noservername']],
  ['a request for OCSP', [...own, ...h2, '-status']],
  ['tiny records', [...own, ...h2, '-max_send_frag', '512']],
  ['padded records', [...own, ...h2, '-record_padding', '4096']],
  ['TLS 1.2 offered as well', [...own, ...h2, '-min_protocol', 'TLSv1.2']],
]
for (const [title, args] of welcome) {
  t.test(`${title}: welcome`, { skip }, async (t) => {
    const { said, connection } = await sClient(t, args)
    t.equal(connection?.peer, client.id)
    t.match(said, /New, TLSv1\.3, Cipher is TLS_AES_(256|128)_GCM/)
    t.match(said, /ALPN protocol: h2/)
  })
}

const unwelcome: [string, string[]][] = [
  ['TLS 1.2', [...own, ...h2, '-tls1_2']],
  ['TLS 1.1', [...own, ...h2, '-tls1_1', '-cipher', 'ALL:@SECLEVEL=0']],
  ['TLS 1.0', [...own, ...h2, '-tls1', '-cipher', 'ALL:@SECLEVEL=0']],
  ['everything but TLS 1.3', [...own, ...h2, '-no_tls1_3']],
  ['ChaCha20 alone', [...own, ...h2, '-ciphersuites', 'TLS_CHACHA20_POLY1305_SHA256']],
  ['AES-CCM alone', [...own, ...h2, '-ciphersuites', 'TLS_AES_128_CCM_SHA256']],
  ['ffdhe2048', [...own, ...h2, '-groups', 'ffdhe2048']],
  ['P-521', [...own, ...h2, '-groups', 'P-521']],
  ['X448', [...own, ...h2, '-groups', 'X448']],
  ['HTTP/1.1 by ALPN', [...own, '-alpn', 'http/1.1']],
  ['HTTP/3 by ALPN', [...own, '-alpn', 'h3']],
  ['h2 in capitals', [...own, '-alpn', 'H2']],
  ['no ALPN', own],
  ['no certificate', h2],
  ['an expired certificate', [...expired, ...h2]],
  ['a certificate of another root', [...strange, ...h2]],
  ['only SHA-1 signatures', [...own, ...h2, '-sigalgs', 'ECDSA+SHA1:RSA+SHA1', '-cipher', 'ALL:@SECLEVEL=0']],
  ['a pre-shared key', [...h2, '-psk', '00112233445566778899aabbccddeeff', '-psk_identity', 'x']],
]
for (const [title, args] of unwelcome) {
  t.test(`${title}: turned away`, { skip }, async (t) => {
    const { connection, tunnels } = await sClient(t, args)
    t.equal(connection?.peer, undefined)
    t.ok((await connection?.closed)?.error, 'for a reason')
    t.equal(tunnels, 0)
  })
}

t.test('a session is never resumed and early data is never read', { skip }, async (t) => {
  const first = await sClient(t, [...own, ...h2, '-sess_out', session])
  t.equal(first.connection?.peer, client.id)
  const isOffered = await readFileOrNothing(session)
  // Without tickets there is usually nothing to come back with; what there is must not help.
  if (isOffered) {
    const again = await sClient(t, [...own, ...h2, '-sess_in', session])
    t.match(again.said, /New, TLSv1\.3/)
    t.notMatch(again.said, /Reused/)
    const alone = await sClient(t, [...h2, '-sess_in', session])
    t.equal(alone.connection?.peer, undefined, 'a session without its certificate')
    const eager = await sClient(t, [...own, ...h2, '-sess_in', session, '-early_data', early])
    t.notMatch(eager.said, /Early data was accepted/)
  }
  const eager = await sClient(t, [...own, ...h2, '-early_data', early])
  t.notMatch(eager.said, /Early data was accepted/)
  t.equal(eager.tunnels, 0)
})

const readFileOrNothing = (path: string) =>
  readFile(path).then(
    (bytes) => bytes.length > 0,
    () => false,
  )

t.test('a thousand key updates harm nobody', { skip }, async (t) => {
  const served = await serve(t, echo)
  const { address, port } = served.address
  const child = spawn('openssl', [
    's_client',
    '-connect',
    `${address}:${port}`,
    '-CAfile',
    roots,
    ...own,
    ...h2,
  ])
  t.teardown(() => void child.kill())
  child.stdin.on('error', () => undefined)
  await until(() => served.connections[0]?.peer !== undefined)
  child.stdin.write('K\n'.repeat(1_000))
  const tunnel = await poolOf(t).connect(towards(served.address))
  const stream = tunnel.duplex()
  stream.end('still here')
  t.equal((await readAll(stream)).toString(), 'still here')
  child.kill()
  await served.connections[0]?.closed
})

t.test('a chain of two mebibytes is not read to its end', async (t) => {
  const served = await serve(t, echo)
  const { address: host, port } = served.address
  const cert = (client.chainPem[0] ?? '') + root.certPem.repeat(5_000)
  const socket = tlsConnect({
    host,
    port,
    rejectUnauthorized: false,
    ...h2Of,
    key: client.privateKeyPem,
    cert,
  })
  socket.on('error', () => undefined)
  const { error } =
    (await until(() => served.connections.length === 1).then(() => served.connections[0]?.closed)) ?? {}
  t.match(error, { code: 'tls-failed', message: /excessive message size/ })
  socket.destroy()
})
const h2Of = { ALPNProtocols: ['h2'] }

/** A ClientHello of these extensions; what it offers does not matter. */
function hello(...extensions: Buffer[]): Buffer {
  const block = Buffer.concat(extensions)
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([0, 0, 2, 0x13, 0x02, 1, 0]),
    Buffer.from([block.length >> 8, block.length & 255]),
    block,
  ])
  const message = Buffer.concat([Buffer.from([1, 0, body.length >> 8, body.length & 255]), body])
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += 16_384) {
    const part = message.subarray(at, at + 16_384)
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part)
  }
  return Buffer.concat(records)
}
const longName = (n: number) =>
  Buffer.concat([
    Buffer.from([0, 0, (n + 5) >> 8, (n + 5) & 255, (n + 3) >> 8, (n + 3) & 255, 0, n >> 8, n & 255]),
    Buffer.alloc(n, 0x61),
  ])

const garbage: [string, Buffer][] = [
  ['the HTTP/2 preface in the clear', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
  ['HTTP/1.1 in the clear', Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')],
  ['zeros', Buffer.alloc(4_096)],
  [
    'a record that is too long',
    Buffer.concat([Buffer.from([22, 3, 1, 0xff, 0xff]), Buffer.alloc(0xffff, 1)]),
  ],
  [
    'a record without content',
    Buffer.from([22, 3, 1, 0, 0].concat(Array.from({ length: 500 }, () => [22, 3, 1, 0, 0]).flat())),
  ],
  ['an alert', Buffer.from([21, 3, 1, 0, 2, 2, 40])],
  ['application data', Buffer.from([23, 3, 3, 0, 2, 1, 1])],
  [
    'SSL 2',
    Buffer.from([0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, ...Array.from({ length: 37 }, () => 1)]),
  ],
  ['a hello of nothing', hello()],
  ['a server name of 60 000 bytes', hello(longName(60_000))],
  ['a hello that ends too soon', Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0])],
  [
    'a hello of 16 MiB',
    Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]), Buffer.alloc(16_380, 1)]),
  ],
]
for (const [title, bytes] of garbage) {
  t.test(`${title}: turned away`, async (t) => {
    const served = await serve(t, echo, { handshakeMs: 500 })
    const socket = await dial(served.address)
    socket.resume()
    socket.write(bytes)
    await until(() => socket.readableEnded || socket.closed)
    t.ok((await served.connections[0]?.closed)?.error)
    socket.destroy()
  })
}

/** Passes a client's bytes on as `slice` cuts them; undefined stops for ever. */
async function through(
  t: Test,
  to: Awaited<ReturnType<typeof serve>>,
  slice: (bytes: Buffer) => Buffer[] | undefined,
) {
  return await listen(t, (socket) => {
    void (async () => {
      const upstream = await dial(to.address)
      upstream.pipe(socket)
      socket.on('data', (bytes: Buffer) => {
        for (const part of slice(bytes) ?? []) upstream.write(part)
      })
      socket.on('close', () => upstream.destroy())
    })()
  })
}

t.test('a handshake that comes byte by byte is a handshake', async (t) => {
  const served = await serve(t, echo)
  const via = await through(t, served, (bytes) => Array.from(bytes, (byte) => Buffer.from([byte])))
  const tunnel = await poolOf(t).connect({ ...towards(via) })
  t.equal(tunnel.peer, server.id)
})

t.test('a handshake that stops after any part of it is gone in time', async (t) => {
  const handshakeMs = 300
  const served = await serve(t, echo, { handshakeMs })
  const stops = [0, 1, 4, 5, 6, 100, 1_000, 1_400, 1_600, 1_900, 2_200]
  const attempts = stops.map(async (stop) => {
    let left = stop
    const via = await through(t, served, (bytes) => {
      const part = bytes.subarray(0, left)
      left -= part.length
      return part.length > 0 ? [part] : undefined
    })
    return poolOf(t, { handshakeMs: 2_000 })
      .connect(towards(via))
      .then(
        () => 'connected',
        () => 'gone',
      )
  })
  t.same(new Set(await Promise.all(attempts)), new Set(['gone']))
  for (const { closed, peer } of served.connections) {
    t.equal(peer, undefined)
    t.ok((await closed).error)
  }
  t.equal(served.connections.length, stops.length)
})

t.test('500 half handshakes are gone in time, and a neighbour does not notice', async (t) => {
  t.ok(defaultLimits.handshakeMs <= 10_000)
  const served = await serve(t, echo, { handshakeMs: 4_000 })
  const pool = poolOf(t)
  const crowd: Socket[] = []
  for (let i = 0; i < 500; i++) {
    const socket = await dial(served.address)
    socket.resume()
    socket.write(hello().subarray(0, 1 + (i % 30)))
    crowd.push(socket)
  }
  for (let i = 0; i < 20; i++) {
    const stream = (await pool.connect(towards(served.address))).duplex()
    stream.end(`${i}`)
    t.equal((await readAll(stream)).toString(), `${i}`)
  }
  await until(() => crowd.every((socket) => socket.readableEnded || socket.closed))
  for (const socket of crowd) socket.destroy()
})

t.test('a connection that is cut without a word is an error for the application, not an end', async (t) => {
  const seen: string[] = []
  const app = await listen(t, (socket) => {
    socket.on('data', () => seen.push('data'))
    socket.on('end', () => seen.push('end'))
    socket.on('error', () => seen.push('error'))
    socket.on('close', () => seen.push('close'))
  })
  const served = await serve(t, (tunnel) => {
    tunnel.accept()
    void dial(app).then((socket) => tunnel.forward(socket, new AbortController().signal))
  })
  const sockets: Socket[] = []
  const pool = poolOf(t)
  const tunnel = await pool.connect({
    ...towards(served.address),
    dial: async () => {
      const socket = await dial(served.address)
      sockets.push(socket)
      return socket
    },
  })
  const stream = tunnel.duplex()
  stream.on('error', () => undefined)
  stream.write('half of it')
  await until(() => seen.length === 1)
  sockets[0]?.end() // FIN, and no close_notify before it
  await until(() => seen.includes('close'))
  t.same(seen, ['data', 'error', 'close'])
})
