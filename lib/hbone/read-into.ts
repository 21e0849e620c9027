import type { Socket } from 'node:net'

/**
 * Where a read ends up. `buffer` holds `n` bytes during the call and may be overwritten after it; false pauses the
 * socket until `resume()`.
 */
type OnRead = (n: number, buffer: Buffer) => boolean

type Fast = { buffer: symbol; callback: symbol; next: symbol }
type Handle = { useUserBuffer(buffer: Buffer): void; reading?: boolean }

/**
 * Node reads into buffers of the caller's (`onread`) only for sockets that the caller constructs. Accepted and TLS
 * sockets have the same machinery behind symbols of net.Socket; where those are not as expected, 'data' events serve
 * as well, only slower.
 */
function fastPath(socket: Socket): { symbols: Fast; handle: Handle } | undefined {
  const symbols = Object.getOwnPropertySymbols(socket)
  const named = (name: string) => symbols.find(({ description }) => description === name)
  const buffer = named('kBuffer')
  const callback = named('kBufferCb')
  const next = named('kBufferGen')
  const handle: unknown = Reflect.get(socket, '_handle')
  if (buffer === undefined || callback === undefined || next === undefined || !hasUserBuffer(handle))
    return undefined
  return { symbols: { buffer, callback, next }, handle }
}

const hasUserBuffer = (handle: unknown): handle is Handle =>
  typeof handle === 'object' && handle !== null && typeof Reflect.get(handle, 'useUserBuffer') === 'function'

/**
 * Reads `socket` into `first`, and then into what `next` returns, for as long as it lives. Bytes that Node had
 * already read are delivered first. The end of the stream comes as 'end' as usual.
 */
export function readInto(socket: Socket, first: Buffer, onRead: OnRead, next?: () => Buffer): void {
  const fast = fastPath(socket)
  const early = alreadyRead(socket)
  const going = early === undefined || deliver(socket, early, onRead)
  if (fast === undefined) {
    readEvents(socket, onRead)
  } else {
    const { symbols, handle } = fast
    Reflect.set(socket, symbols.buffer, first)
    Reflect.set(socket, symbols.callback, onRead)
    if (next) Reflect.set(socket, symbols.next, next)
    handle.useUserBuffer(first)
  }
  if (going) socket.resume()
  else pauseReading(socket)
}

/** All of it: one `read` may give only the first of several pieces, and what stays behind would be nobody's from now on. */
function alreadyRead(socket: Socket): Buffer | undefined {
  const pieces: Buffer[] = []
  for (let piece: unknown = socket.read(); Buffer.isBuffer(piece); piece = socket.read()) pieces.push(piece)
  return pieces.length > 1 ? Buffer.concat(pieces) : pieces[0]
}

/** `resume()` starts the handle again, as it does after a read that returned false. */
function pauseReading(socket: Socket): void {
  socket.pause()
  const handle: unknown = Reflect.get(socket, '_handle')
  const stop: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'readStop') : undefined
  if (typeof stop !== 'function') return
  stop.call(handle)
  Reflect.set(handle as object, 'reading', false)
}

function readEvents(socket: Socket, onRead: OnRead): void {
  socket.on('data', (chunk: Buffer) => {
    if (!deliver(socket, chunk, onRead)) socket.pause()
  })
}

const deliver = (_socket: Socket, chunk: Buffer, onRead: OnRead): boolean => onRead(chunk.length, chunk)
