import type { Test } from 'tap'
import { Connection, type ConnectionEvents } from '../../../lib/hbone/connection.ts'
import { frame, frameType as type, preface, settingsFrame } from '../../../lib/hbone/frames.ts'
import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import { defaultLimits, type HboneLimits } from '../../../lib/hbone/limits.ts'
import type { Stream, StreamListener } from '../../../lib/hbone/stream.ts'

export { frame, type }
export type Frame = Readonly<{ type: number; flags: number; id: number; payload: Buffer }>

/** Takes apart what a connection wrote. */
export function parseFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  for (let at = bytes.subarray(0, 3).toString() === 'PRI' ? 24 : 0; at < bytes.length; ) {
    const length = bytes.readUIntBE(at, 3)
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      id: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    })
    at += 9 + length
  }
  return frames
}

export const u32 = (...values: number[]) => {
  const out = Buffer.alloc(4 * values.length)
  for (const [i, value] of values.entries()) out.writeUInt32BE(value >>> 0, 4 * i)
  return out
}
export const none = Buffer.alloc(0)
export const hello = Buffer.concat([preface, settingsFrame([])])
export const data = (id: number, bytes: number, flags = 0) =>
  frame(type.data, flags, id, Buffer.alloc(bytes, 1))
export const windowUpdate = (id: number, n: number) => frame(type.windowUpdate, 0, id, u32(n))
export const rst = (id: number, code = 8) => frame(type.rstStream, 0, id, u32(code))
export const block = hpackEncode([
  [':method', 'CONNECT'],
  [':authority', '10.0.0.1:80'],
])
/** HEADERS with END_HEADERS and what else `flags` says. */
export const headers = (id: number, flags = 0, payload: Buffer = block) =>
  frame(type.headers, 4 | flags, id, payload)

export type Peer = Readonly<{
  connection: Connection
  streams: Stream[]
  events: string[]
  received(): number
  /** Sends bytes and returns the frames that came back. */
  feed(...bytes: Buffer[]): Frame[]
  failure(): { code: number; reason: string } | undefined
  advance(ms: number): void
}>

/** A connection of ours with somebody else at the other end. */
export function peerOf(
  role: 'server' | 'client',
  limits: Partial<HboneLimits> = {},
  answer = true,
  ample = () => true,
): Peer {
  const streams: Stream[] = []
  const events: string[] = []
  let failure: { code: number; reason: string } | undefined
  let received = 0
  let now = 0
  const listener = (stream: Stream): StreamListener => ({
    response: ({ status }) => void events.push(`${stream.id} status ${status}`),
    bytes: (_, start, end) => {
      received += end - start
      connection.consumed(stream, end - start)
    },
    ended: () => void events.push(`${stream.id} ended`),
    reset: (code) => void events.push(`${stream.id} reset ${code}`),
    writable: () => undefined,
  })
  const on: ConnectionEvents = {
    request: (stream, { method, authority }) => {
      events.push(`${stream.id} ${method} ${authority}`)
      stream.listener = listener(stream)
      streams.push(stream)
      if (answer) connection.respond(stream, [[':status', '200']], false)
    },
    ready: () => undefined,
    pong: () => void events.push('pong'),
    goaway: (last, code) => void events.push(`goaway ${last} ${code}`),
    failed: (code, reason) => {
      failure = { code, reason }
    },
  }
  const connection = new Connection(role, { ...defaultLimits, ...limits }, on, () => now, ample)
  const feed = (...bytes: Buffer[]) => {
    const all = Buffer.concat(bytes)
    connection.receive(all, 0, all.length)
    return parseFrames(connection.takeOutput() ?? none)
  }
  return {
    connection,
    streams,
    events,
    received: () => received,
    feed,
    failure: () => failure,
    advance: (ms) => {
      now += ms
    },
  }
}

export const many = (n: number, make: (i: number) => Buffer) =>
  Buffer.concat(Array.from({ length: n }, (_, i) => make(i)))
export const setting = (id: number, value: number) => {
  const payload = Buffer.alloc(6)
  payload.writeUInt16BE(id)
  payload.writeUInt32BE(value, 2)
  return frame(type.settings, 0, 0, payload)
}

/** The connection has failed with `code`, has said so last, and is deaf. */
export const wants = (t: Test, peer: Peer, out: ReturnType<Peer['feed']>, code: number) => {
  t.equal(peer.failure()?.code, code, peer.failure()?.reason ?? 'did not fail')
  const last = out.at(-1)
  t.equal(last?.type, type.goaway, 'GOAWAY is the last frame')
  t.equal(last?.payload.readUInt32BE(4), code)
  t.equal(peer.connection.streamCount, 0)
  t.notOk(peer.connection.receive(hello, 0, hello.length), 'nothing is read afterwards')
}
