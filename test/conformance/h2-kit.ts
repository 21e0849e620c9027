import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect, TLSSocket } from 'node:tls'
import type { Test } from 'tap'
import type { HboneLimits, InboundTunnel, OutboundTunnel } from '#hbone'
import { clientTls, serverTls } from '#identity'
import { errorCode } from '../../lib/hbone/frames.ts'
import { hpackEncode } from '../../lib/hbone/hpack/encode.ts'
import { client, dial, listen, poolOf, serve, type Served, server, towards } from '../lib/hbone/support.ts'
import { type Frame, frame, headers, hello, parseFrames, type } from '../lib/hbone/frames.ts'

type ErrorName = keyof typeof errorCode

/** What has to follow the bytes of a row. */
type Expect =
  /** GOAWAY with one of these codes, then the end of the connection. */
  | { kind: 'connection-error'; codes: readonly ErrorName[] }
  /** RST_STREAM with one of these codes; the connection goes on. */
  | { kind: 'stream-error'; id: number; codes: readonly ErrorName[] }
  /** No error of any kind; the connection and the streams that are open go on. */
  | { kind: 'ignored' }
  /** As `ignored`, and what came back satisfies this. */
  | { kind: 'answered'; with: string; check(frames: readonly Frame[]): boolean }

/** One clause of the RFCs. */
export type Row = Readonly<{
  rfc: string
  /** The demand, in our own words. */
  must: string
  send: Buffer | readonly Buffer[]
  expect: Expect
  /** CONNECTs of `send` that the caller may see; not judged unless given. */
  reaches?: number
  /** Sent in place of preface and SETTINGS. */
  raw?: true
  /** Client rows: `send` comes before the 200 that opens the tunnel. */
  early?: true
  limits?: Partial<HboneLimits>
  /** Where we knowingly do something else than the RFC says, and why. */
  deviation?: string
}>

export const connectionError = (...codes: ErrorName[]): Expect => ({ kind: 'connection-error', codes })
export const streamError = (id: number, ...codes: ErrorName[]): Expect => ({
  kind: 'stream-error',
  id,
  codes,
})
export const ignored: Expect = { kind: 'ignored' }
export const answered = (text: string, check: (frames: readonly Frame[]) => boolean): Expect => ({
  kind: 'answered',
  with: text,
  check,
})

/** `:status` of an answer by its first byte: our encoder writes 200 and 400 from the static table. */
const statusByte: Readonly<Record<number, number>> = { 200: 0x88, 400: 0x8c }
export const status = (id: number, code: 200 | 400): Expect =>
  answered(`${code} on stream ${id}`, (frames) => hasStatus(frames, id, code))
export const hasStatus = (frames: readonly Frame[], id: number, code: 200 | 400): boolean =>
  frames.some((one) => one.type === type.headers && one.id === id && one.payload[0] === statusByte[code])
/** DATA of `text` on a stream, in however many frames. */
export const hasText = (frames: readonly Frame[], id: number, text: string): boolean =>
  Buffer.concat(
    frames.filter((one) => one.type === type.data && one.id === id).map(({ payload }) => payload),
  ).toString() === text
export const echoes = (id: number, text: string): Expect =>
  answered(`an echo of "${text}" on stream ${id}`, (frames) => hasText(frames, id, text))

/** The frames that arrive on a raw connection. */
export type Wire = Readonly<{
  socket: TLSSocket
  send(bytes: Buffer | readonly Buffer[]): void
  /** Resolves with all frames so far once `done` holds, or the other end has closed. */
  frames(done: (frames: readonly Frame[]) => boolean): Promise<{ frames: readonly Frame[]; closed: boolean }>
}>

function wireOf(t: Test, socket: TLSSocket): Wire {
  let bytes: Buffer = Buffer.alloc(0)
  let closed = false
  let changed = Promise.withResolvers<void>()
  const change = () => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    change()
  })
  const onClosed = () => {
    closed = true
    change()
  }
  socket.on('end', onClosed)
  socket.on('close', onClosed)
  t.teardown(() => void socket.destroy())
  return {
    socket,
    send: (what) => void socket.write(Buffer.isBuffer(what) ? what : Buffer.concat(what)),
    frames: async (done) => {
      const deadline = AbortSignal.timeout(20_000)
      for (;;) {
        const next = changed.promise
        const frames = wholeFrames(bytes)
        if (closed || done(frames)) return { frames, closed }
        if (deadline.aborted) throw new Error(`not in time; so far: ${describe(frames)}`)
        await Promise.race([next, new Promise((resolve) => deadline.addEventListener('abort', resolve))])
      }
    },
  }
}

/** The last frame may have arrived only in part. */
function wholeFrames(bytes: Buffer): readonly Frame[] {
  let end = bytes.subarray(0, 3).toString() === 'PRI' ? 24 : 0
  while (end + 9 <= bytes.length && end + 9 + bytes.readUIntBE(end, 3) <= bytes.length)
    end += 9 + bytes.readUIntBE(end, 3)
  return end > bytes.length ? [] : parseFrames(bytes.subarray(0, end))
}

const nameOf = (codeNumber: number) =>
  Object.entries(errorCode).find(([, value]) => value === codeNumber)?.[0] ?? `${codeNumber}`
const typeOf = (typeNumber: number) =>
  Object.entries(type).find(([, value]) => value === typeNumber)?.[0] ?? `type ${typeNumber}`
const describe = (frames: readonly Frame[]): string =>
  frames
    .map((one) => {
      const code =
        one.type === type.rstStream
          ? ` ${nameOf(one.payload.readUInt32BE())}`
          : one.type === type.goaway
            ? ` ${nameOf(one.payload.readUInt32BE(4))}`
            : ''
      return `${typeOf(one.type)}#${one.id}${code}`
    })
    .join(' ')

/** A raw client of an HBONE server. */
export async function rawClient(t: Test, { address }: Pick<Served, 'address'>): Promise<Wire> {
  const socket = connect({ ...clientTls(client), socket: await dial(address) })
  const wire = wireOf(t, socket)
  await once(socket, 'secureConnect')
  return wire
}

export type RawServer = Readonly<{ address: Served['address']; accepted(n?: number): Promise<Wire> }>

/** A raw server for our client; the wires come in the order of the connections. */
export async function rawServer(t: Test): Promise<RawServer> {
  const wires: PromiseWithResolvers<Wire>[] = []
  let count = 0
  const at = (n: number) => (wires[n] ??= Promise.withResolvers())
  const address = await listen(t, (socket: Socket) => {
    const tls = new TLSSocket(socket, serverTls(server))
    at(count++).resolve(wireOf(t, tls))
  })
  return { address, accepted: (n = 0) => at(n).promise }
}

const probe = Buffer.from('probe-it')
export const probePing = frame(type.ping, 0, 0, probe)
export const isProbed = (frames: readonly Frame[]) =>
  frames.some((one) => one.type === type.ping && one.flags === 1 && one.payload.equals(probe))
const isGoaway = (one: Frame) => one.type === type.goaway
const rstOf = (id: number) => (one: Frame) => one.type === type.rstStream && one.id === id

function judgeConnectionError(
  t: Test,
  frames: readonly Frame[],
  closed: boolean,
  codes: readonly ErrorName[],
) {
  const last = frames.at(-1)
  const said = last && isGoaway(last) ? nameOf(last.payload.readUInt32BE(4)) : describe(frames)
  t.ok(
    codes.some((one) => one === said),
    `GOAWAY ${codes.join(' or ')} comes last; got ${said}`,
  )
  t.ok(closed, 'and the connection is closed')
}

/** Judges a row by what has arrived, the answer to a probe included. */
async function judge(t: Test, wire: Wire, { expect }: Row, probed: typeof isProbed): Promise<void> {
  if (expect.kind === 'connection-error') {
    const { frames, closed } = await wire.frames(() => false)
    return judgeConnectionError(t, frames, closed, expect.codes)
  }
  const wanted = (frames: readonly Frame[]) => expect.kind !== 'answered' || expect.check(frames)
  const { frames, closed } = await wire.frames((all) => probed(all) && wanted(all))
  t.notOk(closed || frames.some(isGoaway), `the connection goes on: ${describe(frames)}`)
  if (expect.kind === 'stream-error') {
    const code = frames.find(rstOf(expect.id))?.payload.readUInt32BE()
    const said = code === undefined ? describe(frames) : nameOf(code)
    t.ok(
      expect.codes.some((one) => one === said),
      `RST_STREAM ${expect.codes.join(' or ')} on stream ${expect.id}; got ${said}`,
    )
    return
  }
  const resets = frames.filter((one) => one.type === type.rstStream && one.payload.readUInt32BE() !== 0)
  t.strictSame(resets, [], 'no stream is reset')
  if (expect.kind === 'answered')
    t.ok(expect.check(frames), `there comes ${expect.with}: ${describe(frames)}`)
}

/** Takes CONNECT and echoes; any other method gets the answer that ztunnel gives. */
export const connectOnly = (tunnel: InboundTunnel): void => {
  if (tunnel.method !== 'CONNECT') return tunnel.refuse(400)
  tunnel.accept()
  const stream = tunnel.duplex()
  stream.on('error', () => undefined)
  stream.pipe(stream)
}

/** The stream of the CONNECT that proves that a server still serves. */
const probeStream = 0x10001

/** A row against our server. */
export async function judgeServer(t: Test, row: Row): Promise<void> {
  const served = await serve(t, connectOnly, row.limits ?? {})
  const wire = await rawClient(t, served)
  wire.send(row.raw ? [] : hello)
  wire.send(row.send)
  const fails = row.expect.kind === 'connection-error'
  if (!fails) wire.send([headers(probeStream), probePing])
  const serves = (frames: readonly Frame[]) => isProbed(frames) && hasStatus(frames, probeStream, 200)
  await judge(t, wire, row, serves)
  if (row.reaches !== undefined)
    t.equal(served.tunnels.length - (fails ? 0 : 1), row.reaches, 'requests that the caller saw')
}

const opened = headers(1, 0, hpackEncode([[':status', '200']]))

/** A row against our client, whose only tunnel is stream 1. */
export async function judgeClient(t: Test, row: Row): Promise<void> {
  const peer = await rawServer(t)
  const pool = poolOf(t, row.limits ?? {})
  const attempt = pool.connect(towards(peer.address)).then(
    (tunnel) => watch(tunnel),
    (error: unknown) => ({ error }),
  )
  const wire = await peer.accepted()
  // The client speaks first: its CONNECT is on the way before it has heard us.
  await wire.frames((frames) => frames.some((one) => one.type === type.headers))
  wire.send(row.raw ? [] : hello.subarray(24))
  if (!row.early) wire.send(opened)
  wire.send(row.send)
  const fails = row.expect.kind === 'connection-error'
  if (!fails) wire.send(probePing)
  await judge(t, wire, row, isProbed)
  if (row.expect.kind === 'ignored' || row.expect.kind === 'answered') {
    if (row.early) wire.send(opened)
    wire.send(frame(type.data, 0, 1, Buffer.from('alive')))
    const tunnel = await attempt
    if (!('read' in tunnel)) return void t.fail(`no tunnel: ${String(tunnel.error)}`)
    t.match(await tunnel.read('alive'), /alive$/, 'the tunnel carries bytes')
  } else {
    const tunnel = await attempt
    if ('read' in tunnel) t.ok(await tunnel.broken, 'the tunnel has ended with an error')
    else t.ok(tunnel.error, 'there is no tunnel')
  }
}

function watch(tunnel: OutboundTunnel) {
  const stream: Duplex = tunnel.duplex()
  let text = ''
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  const broken = new Promise<boolean>((resolve) => {
    stream.once('error', () => resolve(true))
    stream.once('close', () => resolve(false))
  })
  const read = async (end: string) => {
    const deadline = Date.now() + 20_000
    while (!text.endsWith(end) && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 5))
    return text
  }
  return { read, broken }
}

/** One subtest per row; what deviates is printed. */
export function runRows(
  t: Test,
  rows: readonly Row[],
  atLeast: number,
  run: (t: Test, row: Row) => Promise<void>,
): void {
  t.ok(rows.length >= atLeast, `${rows.length} clauses, of which at least ${atLeast} are wanted`)
  for (const row of rows) {
    t.test(`${row.rfc}: ${row.must}`, async (t) => {
      if (row.deviation !== undefined) t.comment(`deviation: ${row.deviation}`)
      await run(t, row)
    })
  }
}
