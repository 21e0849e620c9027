import { chmodSync, closeSync, lstatSync, unlinkSync } from 'node:fs'
import { codeOf, MeshError } from '#base'
import { addon, succeed, syscallFailed } from './addon.ts'
import { isAgain } from './errno.ts'
import { openPoll, type Poll, ready } from './poll.ts'

/** Bytes in one packet, both ways; a longer one is an error (ZDS: the agent's and ztunnel's buffers have 1024). */
export const maxPacketBytes = 1024
/** Packets that may wait for a slow reader. ZDS has one outstanding message, so more than a few means a broken peer. */
const maxQueued = 64
/** Packets read in one turn of the loop, so that one talkative peer cannot hold it. */
const maxReadsPerTurn = 16
/** Connections that may wait to be accepted. */
const backlog = 16

/** Wait after a failed accept. */
const acceptPauseMs = 250

/** A connected SOCK_SEQPACKET socket: whole packets, with descriptors beside them. */
export type Seqpacket = Disposable & {
  /** Sends one packet now, or queues it (with copies of the descriptors) while the peer is slow; `over-limit` when the queue is full. */
  send(bytes: Uint8Array, fds?: readonly number[]): void
  /** Called for each packet. The receiver owns the descriptors, which are close-on-exec. Without a handler they are closed. */
  onMessage: (bytes: Uint8Array, fds: readonly number[]) => void
  /** Called once, unless the close was our own dispose: without an error at the peer's end, else with it. */
  onClose: (error?: Error) => void
}

type Queued = Readonly<{ bytes: Uint8Array; fds: readonly number[] }>

class Connection implements Seqpacket {
  onMessage: Seqpacket['onMessage'] = (_, fds) => fds.forEach((fd) => closeSync(fd))
  onClose: Seqpacket['onClose'] = () => undefined
  readonly #fd: number
  readonly #poll: Poll
  readonly #queue: Queued[] = []
  #open = true

  constructor(fd: number) {
    this.#fd = fd
    try {
      this.#poll = openPoll(fd, (events, error) => this.#onReady(events, error))
      this.#poll.watch(ready.readable)
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    if (!this.#open) throw new MeshError('unavailable', { message: 'the socket is closed' })
    if (bytes.length === 0 || bytes.length > maxPacketBytes)
      throw new MeshError('over-limit', { message: `a packet of ${bytes.length} bytes` })
    if (this.#queue.length === 0) {
      const sent = addon().send(this.#fd, bytes, fds)
      if (!isAgain(sent)) return void succeed('send', sent)
    }
    if (this.#queue.length >= maxQueued)
      throw new MeshError('over-limit', {
        message: `${maxQueued} packets wait for a peer that does not read`,
      })
    this.#queue.push({ bytes: bytes.slice(), fds: duplicate(fds) })
    this.#poll.watch(ready.readable | ready.writable)
  }

  [Symbol.dispose](): void {
    if (!this.#open) return
    this.#open = false
    this.#poll[Symbol.dispose]()
    closeSync(this.#fd)
    for (const { fds } of this.#queue.splice(0)) fds.forEach((fd) => closeSync(fd))
  }

  #end(error?: Error): void {
    if (!this.#open) return
    this[Symbol.dispose]()
    this.onClose(error)
  }

  #onReady(events: number, error: MeshError | undefined): void {
    if (error) return this.#end(error)
    if (events & ready.writable) this.#flush()
    if (events & ready.readable) this.#drain()
  }

  #flush(): void {
    for (let next = this.#queue[0]; this.#open && next; next = this.#queue[0]) {
      const sent = addon().send(this.#fd, next.bytes, next.fds)
      if (isAgain(sent)) return
      if (sent < 0) return this.#end(syscallFailed('send', sent))
      this.#queue.shift()
      next.fds.forEach((fd) => closeSync(fd))
    }
    if (this.#open) this.#poll.watch(ready.readable)
  }

  #drain(): void {
    // The handler may dispose us between two packets.
    for (let n = 0; this.#open && n < maxReadsPerTurn; n++) {
      const buffer = new Uint8Array(maxPacketBytes)
      const got = addon().receive(this.#fd, buffer)
      if (typeof got === 'number') {
        if (!isAgain(got)) this.#end(syscallFailed('receive', got))
        return
      }
      const [length = 0, ...fds] = got
      // SEQPACKET tells its end by an empty packet; nobody we speak with sends empty ones.
      if (length === 0) {
        fds.forEach((fd) => closeSync(fd))
        return this.#end()
      }
      this.onMessage(buffer.subarray(0, length), fds)
    }
  }
}

function duplicate(fds: readonly number[]): number[] {
  const copies: number[] = []
  try {
    for (const fd of fds) copies.push(succeed('dup', addon().dup(fd)))
  } catch (error) {
    copies.forEach((fd) => closeSync(fd))
    throw error
  }
  return copies
}

/**
 * Listens at `path` (mode 0600; a stale socket there is replaced, anything else is not). `onConnection` gets each peer
 * before its first packet is read. Dispose stops listening and removes the file; connections live on.
 */
export function listenSeqpacket(path: string, onConnection: (peer: Seqpacket) => void): Disposable {
  removeStale(path)
  const fd = succeed(`listen at ${path}`, addon().unixSocket(path, 1))
  let poll: Poll | undefined
  const close = () => {
    poll?.[Symbol.dispose]()
    closeSync(fd)
  }
  try {
    chmodSync(path, 0o600)
    succeed(`listen at ${path}`, addon().listen(fd, backlog))
    const opened = openPoll(fd, () => acceptOne(fd, opened, onConnection))
    poll = opened
    opened.watch(ready.readable)
  } catch (error) {
    close()
    throw error
  }
  let open = true
  return {
    [Symbol.dispose]: () => {
      if (!open) return
      open = false
      close()
      removeStale(path)
    },
  }
}

/** One per turn; the poll is level-triggered, so the next comes with the next turn. A peer gone before its accept is nothing. */
function acceptOne(fd: number, poll: Poll, onConnection: (peer: Seqpacket) => void): void {
  const peer = addon().accept(fd)
  if (peer >= 0) return onConnection(new Connection(peer))
  if (isAgain(peer)) return
  // Out of descriptors: the peer stays in the backlog. Look again later instead of spinning on a readiness that stays.
  poll.watch(0)
  setTimeout(() => poll.watch(ready.readable), acceptPauseMs).unref()
}

/** Connects to a listener; fails with ENOENT, ECONNREFUSED, or EAGAIN when its backlog is full. */
export const connectSeqpacket = (path: string): Seqpacket =>
  new Connection(succeed(`connect to ${path}`, addon().unixSocket(path, 0)))

function removeStale(path: string): void {
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}
