/** RFC 9113 §6. */
export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

/** Flags of frames (RFC 9113 §6). */
export const flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const

/** RFC 9113 §7. */
export const errorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
} as const

export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  enableConnectProtocol: 8,
} as const

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
/** Its acknowledgement tells that the peer has seen what was sent before it. */
export const drainPing = Buffer.from('draining', 'latin1')

/** Of a frame (RFC 9113 §4.1). */
export const headerBytes = 9
export const defaultWindow = 65_535
export const defaultMaxFrame = 16_384
export const largestMaxFrame = 16_777_215
export const largestWindow = 0x7fff_ffff

/** Writes a frame header at `at`. */
export function putHeader(
  b: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  id: number,
): void {
  b[at] = length >>> 16
  b[at + 1] = length >>> 8
  b[at + 2] = length
  b[at + 3] = type
  b[at + 4] = flags
  b[at + 5] = id >>> 24
  b[at + 6] = id >>> 16
  b[at + 7] = id >>> 8
  b[at + 8] = id
}

export function frame(type: number, flags: number, id: number, payload: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(headerBytes + payload.length)
  putHeader(out, 0, payload.length, type, flags, id)
  out.set(payload, headerBytes)
  return out
}

const words = (...values: number[]): Buffer => {
  const out = Buffer.allocUnsafe(4 * values.length)
  for (const [i, value] of values.entries()) out.writeUInt32BE(value >>> 0, 4 * i)
  return out
}

export const rstFrame = (id: number, code: number): Buffer => frame(frameType.rstStream, 0, id, words(code))
export const windowFrame = (id: number, n: number): Buffer => frame(frameType.windowUpdate, 0, id, words(n))
export const goawayFrame = (lastId: number, code: number): Buffer =>
  frame(frameType.goaway, 0, 0, words(lastId, code))
export const pingFrame = (payload: Uint8Array, ack: boolean): Buffer =>
  frame(frameType.ping, ack ? flag.ack : 0, 0, payload)
export const settingsAck = (): Buffer => frame(frameType.settings, flag.ack, 0, Buffer.alloc(0))
export const endFrame = (id: number): Buffer => frame(frameType.data, flag.endStream, id, Buffer.alloc(0))

export function settingsFrame(values: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.allocUnsafe(6 * values.length)
  for (const [i, [id, value]] of values.entries()) {
    payload.writeUInt16BE(id, 6 * i)
    payload.writeUInt32BE(value, 6 * i + 2)
  }
  return frame(frameType.settings, 0, 0, payload)
}

/** HEADERS, followed by CONTINUATION where the block is longer than the peer's frames may be. */
export function headersFrames(id: number, block: Buffer, endStream: boolean, maxFrame: number): Buffer {
  const parts: Buffer[] = []
  let at = 0
  do {
    const piece = block.subarray(at, at + maxFrame)
    const first = at === 0
    at += piece.length
    const flags = (at >= block.length ? flag.endHeaders : 0) | (first && endStream ? flag.endStream : 0)
    parts.push(frame(first ? frameType.headers : frameType.continuation, flags, id, piece))
  } while (at < block.length)
  return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)
}
