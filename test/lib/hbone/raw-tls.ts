import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import type { Socket } from 'node:net'

// A TLS 1.3 client (X25519, AES-128-GCM, ECDSA P-256) whose every message can be spoilt. It checks nothing.

const u8 = (n: number) => Buffer.from([n])
const u16 = (n: number) => Buffer.from([n >> 8, n & 255])
const u24 = (n: number) => Buffer.from([n >> 16, (n >> 8) & 255, n & 255])
const sized = (width: 1 | 2 | 3, ...parts: Buffer[]) => {
  const all = Buffer.concat(parts)
  return Buffer.concat([width === 1 ? u8(all.length) : width === 2 ? u16(all.length) : u24(all.length), all])
}
/** A handshake message. */
export const message = (type: number, ...parts: Buffer[]): Buffer =>
  Buffer.concat([u8(type), sized(3, ...parts)])
export const record = (type: number, body: Buffer): Buffer =>
  Buffer.concat([u8(type), u16(0x0303), sized(2, body)])

const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest()
const hmac = (key: Buffer, bytes: Buffer) => createHmac('sha256', key).update(bytes).digest()
/** HKDF-Expand-Label of RFC 8446 §7.1, for what fits one block. */
const expand = (secret: Buffer, label: string, context: Buffer, length: number) => {
  const asked = Buffer.concat([
    u16(length),
    sized(1, Buffer.from(`tls13 ${label}`)),
    sized(1, context),
    u8(1),
  ])
  return hmac(secret, asked).subarray(0, length)
}

/** One direction's keys. */
class Traffic {
  readonly #secret: Buffer
  readonly #key: Buffer
  readonly #iv: Buffer
  #count = 0
  constructor(secret: Buffer) {
    this.#secret = secret
    this.#key = expand(secret, 'key', Buffer.alloc(0), 16)
    this.#iv = expand(secret, 'iv', Buffer.alloc(0), 12)
  }
  #nonce(): Buffer {
    const nonce = Buffer.from(this.#iv)
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.#count++) >>> 0, 8)
    return nonce
  }
  seal(type: number, body: Buffer): Buffer {
    const head = Buffer.concat([u8(23), u16(0x0303), u16(body.length + 17)])
    const cipher = createCipheriv('aes-128-gcm', this.#key, this.#nonce()).setAAD(head)
    return Buffer.concat([
      head,
      cipher.update(Buffer.concat([body, u8(type)])),
      cipher.final(),
      cipher.getAuthTag(),
    ])
  }
  open(head: Buffer, body: Buffer): { type: number; body: Buffer } {
    const decipher = createDecipheriv('aes-128-gcm', this.#key, this.#nonce()).setAAD(head)
    decipher.setAuthTag(body.subarray(-16))
    const plain = Buffer.concat([decipher.update(body.subarray(0, -16)), decipher.final()])
    return { type: plain.at(-1) ?? 0, body: plain.subarray(0, -1) }
  }
  finished(transcript: Buffer): Buffer {
    return hmac(expand(this.#secret, 'finished', Buffer.alloc(0), 32), hash(transcript))
  }
  next(): Traffic {
    return new Traffic(expand(this.#secret, 'traffic upd', Buffer.alloc(0), 32))
  }
}

/** Cuts what a socket says into records. */
async function* recordsOf(socket: Socket): AsyncGenerator<{ head: Buffer; body: Buffer }, undefined> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const bytes of socket) {
    rest = Buffer.concat([rest, bytes as Buffer])
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt16BE(3)) {
      const end = 5 + rest.readUInt16BE(3)
      yield { head: rest.subarray(0, 5), body: rest.subarray(5, end) }
      rest = rest.subarray(end)
    }
  }
  return undefined
}

function clientHello(share: Buffer): Buffer {
  const extension = (id: number, body: Buffer) => Buffer.concat([u16(id), sized(2, body)])
  const extensions = [
    extension(43, sized(1, u16(0x0304))),
    extension(10, sized(2, u16(0x001d))),
    extension(13, sized(2, u16(0x0403), u16(0x0804))),
    extension(51, sized(2, u16(0x001d), sized(2, share))),
    extension(16, sized(2, sized(1, Buffer.from('h2')))),
  ]
  const suites = sized(2, u16(0x1301))
  return message(1, u16(0x0303), randomBytes(32), sized(1), suites, sized(1, u8(0)), sized(2, ...extensions))
}

/** The server's key share: the last 32 bytes of its extension 51. */
function shareIn(serverHello: Buffer): Buffer {
  let at = 4 + 2 + 32
  at += 1 + (serverHello[at] ?? 0) + 3
  const end = at + 2 + serverHello.readUInt16BE(at)
  at += 2
  while (at < end) {
    const length = serverHello.readUInt16BE(at + 2)
    if (serverHello.readUInt16BE(at) === 51) return serverHello.subarray(at + 8, at + 4 + length)
    at += 4 + length
  }
  throw new Error('no key share')
}

type Secrets = Readonly<{
  /** Everything said so far. */
  transcript: Buffer
  /** What our Finished has to say after `transcript`. */
  finished(transcript: Buffer): Buffer
}>
/** The client's second flight: handshake messages, in the order in which they are sent. */
export type Flight = (secrets: Secrets) => readonly Buffer[]

export const certificateMessage = (ders: readonly Buffer[], context = Buffer.alloc(0)): Buffer =>
  message(11, sized(1, context), sized(3, ...ders.map((der) => Buffer.concat([sized(3, der), u16(0)]))))

export const verifyMessage = (key: KeyObject, transcript: Buffer, who = 'client'): Buffer => {
  const said = Buffer.from(`TLS 1.3, ${who} CertificateVerify\0`)
  const bytes = sign('sha256', Buffer.concat([Buffer.alloc(64, 0x20), said, hash(transcript)]), key)
  return message(15, u16(0x0403), sized(2, bytes))
}
export const finishedMessage = (mac: Buffer): Buffer => message(20, mac)
export const keyUpdate = message(24, u8(1))

/** An honest second flight. */
export const honest =
  (ders: readonly Buffer[], key: KeyObject): Flight =>
  ({ transcript, finished }) => {
    const certificate = certificateMessage(ders)
    const verify = verifyMessage(key, Buffer.concat([transcript, certificate]))
    const end = finishedMessage(finished(Buffer.concat([transcript, certificate, verify])))
    return [certificate, verify, end]
  }

export type RawTls = Readonly<{
  /** Sends one encrypted record of the application's phase: 22 handshake, 23 data. */
  send(type: number, body: Buffer): void
  /** Our sending keys move on, as after a KeyUpdate. */
  rekey(): void
}>

/** Shakes hands as far as the server lets us, up to the end of `flight`. */
export async function rawHandshake(socket: Socket, flight: Flight): Promise<RawTls> {
  const { privateKey, publicKey } = generateKeyPairSync('x25519')
  const hello = clientHello(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32))
  socket.on('error', () => undefined)
  socket.write(record(22, hello))
  const records = recordsOf(socket)
  const next = async () => {
    const { value } = await records.next()
    if (!value) throw new Error('the server has gone')
    return value
  }
  const serverHello = (await next()).body
  const peer = createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), shareIn(serverHello)]),
    format: 'der',
    type: 'spki',
  })
  const zeros = Buffer.alloc(32)
  const derived = (secret: Buffer) => expand(secret, 'derived', hash(Buffer.alloc(0)), 32)
  const handshake = hmac(derived(hmac(zeros, zeros)), diffieHellman({ privateKey, publicKey: peer }))
  let transcript = Buffer.concat([hello, serverHello])
  const of = (secret: Buffer, label: string) => new Traffic(expand(secret, label, hash(transcript), 32))
  const theirs = of(handshake, 's hs traffic')
  const ours = of(handshake, 'c hs traffic')
  for (let rest = Buffer.alloc(0), isOver = false; !isOver; ) {
    const { head, body } = await next()
    if (head[0] === 20) continue // for the sake of old middleboxes
    if (head[0] !== 23) throw new Error(`record of type ${head[0]}`)
    rest = Buffer.concat([rest, theirs.open(head, body).body])
    while (rest.length >= 4 && rest.length >= 4 + rest.readUIntBE(1, 3)) {
      const end = 4 + rest.readUIntBE(1, 3)
      isOver ||= rest[0] === 20
      transcript = Buffer.concat([transcript, rest.subarray(0, end)])
      rest = rest.subarray(end)
    }
  }
  let sending = of(hmac(derived(handshake), zeros), 'c ap traffic')
  const messages = flight({ transcript, finished: (said) => ours.finished(said) })
  for (const one of messages)
    for (let at = 0; at < one.length; at += 16_000) socket.write(ours.seal(22, one.subarray(at, at + 16_000)))
  void (async () => {
    for await (const _ of records) continue
  })().catch(() => undefined)
  return {
    send: (type, body) => void socket.write(sending.seal(type, body)),
    rekey: () => {
      sending = sending.next()
    },
  }
}
