import { createPrivateKey } from 'node:crypto'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { MeshError } from '#base'
import { firstDer } from '../../../lib/identity/pem.ts'
import { secureServer } from '../../../lib/hbone/handshake.ts'
import { freshKey } from '../identity/certificate-kit.ts'
import {
  certificateMessage,
  finishedMessage,
  type Flight,
  honest,
  keyUpdate,
  message,
  rawHandshake,
  type RawTls,
  record,
  verifyMessage,
} from './raw-tls.ts'
import {
  client,
  dial,
  echo,
  never,
  poolOf,
  readAll,
  root,
  serve,
  server,
  tcpPair,
  towards,
  until,
} from './support.ts'

// Handshakes that no TLS library would send: malformed certificates, and messages missing, forged or out of order.

const der = firstDer(client.chainPem[0] ?? '', 'CERTIFICATE') ?? Buffer.alloc(0)
const key = createPrivateKey(client.privateKeyPem)
const rootDer = firstDer(root.certPem, 'CERTIFICATE') ?? Buffer.alloc(0)
/** For handshakes that may stand still, and for the one that must not fail on a slow machine. */
const waits = { timeoutMs: 500, signal: never }
const patient = { timeoutMs: 20_000, signal: never }

const edited = (at: number, value: number) => {
  const bytes = Buffer.from(der)
  bytes[at] = value
  return bytes
}
const body = der.subarray(4)
const nested = (depth: number) => {
  let bytes: Buffer = Buffer.alloc(0)
  for (let i = 0; i < depth; i++) {
    const head =
      bytes.length < 128
        ? [0x30, bytes.length]
        : [0x30, 0x83, bytes.length >> 16, (bytes.length >> 8) & 255, bytes.length & 255]
    bytes = Buffer.concat([Buffer.from(head), bytes])
  }
  return bytes
}

const malformed: [string, Buffer[]][] = [
  ['nothing', [Buffer.alloc(0)]],
  ['one byte', [Buffer.from([0x30])]],
  ['half a certificate', [der.subarray(0, der.length / 2)]],
  ['all but the last byte', [der.subarray(0, -1)]],
  ['one byte too many', [Buffer.concat([der, Buffer.from([0])])]],
  ['two in one', [Buffer.concat([der, der])]],
  ['a length that is one too short', [edited(3, (der[3] ?? 0) - 1)]],
  ['a length that is one too long', [edited(3, (der[3] ?? 0) + 1)]],
  ['a length of 4 GiB', [Buffer.concat([Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), body])]],
  ['an indefinite length', [Buffer.concat([Buffer.from([0x30, 0x80]), body])]],
  ['a SET instead of a SEQUENCE', [edited(0, 0x31)]],
  ['a NULL where the certificate should be', [edited(4, 0x05)]],
  ['zeros', [Buffer.alloc(1_000)]],
  ['noise', [Buffer.from(Array.from({ length: 800 }, (_, i) => (i * 7_919) & 255))]],
  ['text', [Buffer.from(client.chainPem[0] ?? '')]],
  ['ten thousand sequences in each other', [nested(10_000)]],
  [
    '90 000 bytes of nothing',
    [Buffer.concat([Buffer.from([0x30, 0x83, 1, 0x5f, 0x90]), Buffer.alloc(90_000)])],
  ],
  ['a good one, then noise', [der, Buffer.from('noise')]],
  ['a good one, then nothing', [der, Buffer.alloc(0)]],
  ['its root first', [rootDer, der]],
]

const forged: [string, Flight][] = [
  ['no certificate', honest([], key)],
  ['a signature of another key', honest([der], freshKey())],
  [
    'no proof of the key',
    ({ transcript, finished }) => {
      const certificate = certificateMessage([der])
      return [certificate, finishedMessage(finished(Buffer.concat([transcript, certificate])))]
    },
  ],
  [
    'the proof of a server',
    ({ transcript, finished }) => {
      const certificate = certificateMessage([der])
      const verify = verifyMessage(key, Buffer.concat([transcript, certificate]), 'server')
      return [
        certificate,
        verify,
        finishedMessage(finished(Buffer.concat([transcript, certificate, verify]))),
      ]
    },
  ],
  [
    'a proof of another conversation',
    ({ transcript, finished }) => {
      const certificate = certificateMessage([der])
      const verify = verifyMessage(key, Buffer.concat([Buffer.from('x'), transcript, certificate]))
      return [
        certificate,
        verify,
        finishedMessage(finished(Buffer.concat([transcript, certificate, verify]))),
      ]
    },
  ],
  [
    'a wrong end',
    (secrets) => [...honest([der], key)(secrets).slice(0, 2), finishedMessage(Buffer.alloc(32))],
  ],
  ['the end first', (secrets) => [...honest([der], key)(secrets)].reverse()],
  ['only the end', ({ transcript, finished }) => [finishedMessage(finished(transcript))]],
  ['nothing more', () => []],
  ['its certificate twice', (secrets) => [certificateMessage([der]), ...honest([der], key)(secrets)]],
  [
    'a context that nobody gave it',
    ({ transcript, finished }) => {
      const certificate = certificateMessage([der], Buffer.from('x'))
      const verify = verifyMessage(key, Buffer.concat([transcript, certificate]))
      return [
        certificate,
        verify,
        finishedMessage(finished(Buffer.concat([transcript, certificate, verify]))),
      ]
    },
  ],
  ['a list that is longer than its message', () => [message(11, Buffer.from([0, 0xff, 0xff, 0xff]), der)]],
  [
    'a message of 16 MiB',
    () => [Buffer.concat([Buffer.from([11, 0xff, 0xff, 0xff]), Buffer.alloc(100_000)])],
  ],
  ['a second hello', () => [message(1, Buffer.alloc(100))]],
  ['an unknown message', () => [message(99, Buffer.alloc(10))]],
]

const attempt = async (t: Test, flight: Flight, limits = waits) => {
  const [theirs, mine] = await tcpPair(t)
  const outcome = secureServer(mine, server, limits).then(
    ({ peer }) => peer.id,
    (error: unknown) => error,
  )
  await rawHandshake(theirs, flight)
  return outcome
}

t.test('an honest handshake passes, with its root along as well', async (t) => {
  t.equal(await attempt(t, honest([der], key), patient), client.id)
  t.equal(await attempt(t, honest([der, rootDer], key), patient), client.id)
})

for (const [title, ders] of malformed) {
  t.test(`as its certificate ${title}: refused`, async (t) => {
    t.ok((await attempt(t, honest(ders, key))) instanceof MeshError)
  })
}

for (const [title, flight] of forged) {
  t.test(`a client that sends ${title}: refused`, async (t) => {
    t.ok((await attempt(t, flight)) instanceof MeshError)
  })
}

t.test('what is sent in the clear, or too early, is no part of a handshake', async (t) => {
  for (const bytes of [
    record(22, certificateMessage([der])),
    record(23, Buffer.alloc(40)),
    record(20, Buffer.from([2])),
    record(21, Buffer.from([1, 0])),
  ]) {
    const [theirs, mine] = await tcpPair(t)
    const outcome = secureServer(mine, server, waits).then(
      ({ peer }) => peer.id,
      (error: unknown) => error,
    )
    await rawHandshake(theirs, () => {
      theirs.write(bytes)
      return []
    })
    t.ok((await outcome) instanceof MeshError)
  }
})

t.test('a thousand key updates with a request each, and the neighbour goes on', async (t) => {
  const served = await serve(t, echo)
  const hostile = await dial(served.address)
  t.teardown(() => void hostile.destroy())
  const raw = await rawHandshake(hostile, honest([der], key))
  await until(() => served.connections[0]?.peer === client.id)
  for (let i = 0; i < 1_000; i++) {
    raw.send(22, keyUpdate)
    raw.rekey()
  }
  const stream = (await poolOf(t).connect(towards(served.address))).duplex()
  stream.end('still here')
  t.equal((await readAll(stream)).toString(), 'still here')
  raw.send(23, Buffer.from('no preface at all, but read with the thousandth key'))
  t.match(await served.connections[0]?.closed, { error: { message: /preface/ } })
})

const late: [string, (raw: RawTls, socket: Socket) => void][] = [
  ['a second hello', (raw) => raw.send(22, message(1, Buffer.alloc(80)))],
  ['a second certificate', (raw) => raw.send(22, message(11, Buffer.alloc(4)))],
  ['a ticket', (raw) => raw.send(22, message(4, Buffer.alloc(40)))],
  ['a second end', (raw) => raw.send(22, message(20, Buffer.alloc(32)))],
  ['an unknown message', (raw) => raw.send(22, message(99, Buffer.alloc(1)))],
  ['a record of an unknown type', (raw) => raw.send(99, Buffer.alloc(3))],
  ['a record that does not decrypt', (_, socket) => void socket.write(record(23, Buffer.alloc(100)))],
  ['a record in the clear', (_, socket) => void socket.write(record(22, message(1, Buffer.alloc(80))))],
  ['noise', (_, socket) => void socket.write(Buffer.alloc(1_000, 7))],
  ['a fatal alert', (raw) => raw.send(21, Buffer.from([2, 80]))],
]
for (const [title, send] of late) {
  t.test(`${title} after the handshake ends the connection at once`, async (t) => {
    const served = await serve(t, echo)
    const hostile = await dial(served.address)
    const raw = await rawHandshake(hostile, honest([der], key))
    await until(() => served.connections[0]?.peer === client.id)
    send(raw, hostile)
    const error = (await served.connections[0]?.closed)?.error
    t.ok(error)
    t.notMatch(error, { code: 'timeout' }, 'not because time has passed')
    t.equal(served.tunnels.length, 0)
    hostile.destroy()
  })
}
